"""A canary's way: when it moves on, when it goes back, and what is left of it."""

import msgspec
import pytest

from pointsman.tokens import Price
from policies.canary_run import (
    STEPS_MAX,
    Arm,
    CanaryRun,
    advance,
    allowed_by,
    arm_of,
    begin_run,
    clock_of,
    identity_of,
    judges_answers,
    promote,
    roll_back,
    saw_label,
    saw_new,
    saw_old,
    saw_pair,
    stage_word,
    suggested_edit,
    to_next_stage,
    waits_for,
)
from policies.canary_trial import Allowed, Seen
from policies.facts import BackendFacts
from policies.words import Canary, Check, ConfidenceRule, KeepIf, LatencyLimit, Require, Route

CANARY = Canary(
    "new", "old", ("shadow", 0.01, 1.0), KeepIf(error=0.05), min_samples=200, then="promote"
)
ROUTE = Route(name="extract", candidates=("old", "gpt-4"), canary=CANARY)
RIGHT = Seen(loss=0.0, is_judged=True)
WRONG = Seen(loss=1.0, is_judged=True)


def begun(route: Route = ROUTE) -> CanaryRun:
    return begin_run(route, "digest", now_us=1, by="keeper", reason="new")


def fed(run: CanaryRun, count: int, seen: Seen = RIGHT) -> CanaryRun:
    for _ in range(count):
        run = saw_pair(run, seen, RIGHT)
    return run


def test_goes_through_all_stages_and_takes_over() -> None:
    run, words = begun(), []
    for now in range(2, 1200):
        before = run
        run = advance(fed(run, 1), CANARY, now_us=now)
        if run.steps != before.steps:
            words.append((stage_word(run), now))
    assert [word for word, _ in words] == ["1%", "100%", "promoted"]
    assert words[0][1] == 201  # min_samples is the earliest promotion
    assert [step.what for step in run.steps] == ["started", "next_stage", "next_stage", "promoted"]
    assert arm_of(run) == Arm("new", "old", 1.0)


def test_holds_for_the_operator_where_the_file_says_so() -> None:
    canary = msgspec.structs.replace(CANARY, stages=(0.05,), then="hold")
    run = begun(msgspec.structs.replace(ROUTE, canary=canary))
    run = advance(fed(run, 250), canary, now_us=2)
    assert run.status == "held"
    assert arm_of(run) == Arm("new", "old", 0.05)
    assert advance(run, canary, now_us=3) is run
    back = advance(fed(run, 30, WRONG), canary, now_us=4)
    assert back.status == "rolled_back"


def test_nothing_moves_before_min_samples_and_proof() -> None:
    run = fed(begun(), 150)
    assert advance(run, CANARY, now_us=2) is run
    assert waits_for(run, CANARY) == ["150 of 200 answers at this stage"]
    unjudged = begun()
    for _ in range(300):
        unjudged = saw_pair(unjudged, Seen(loss=0.0), Seen(loss=0.0))
    assert advance(unjudged, CANARY, now_us=2) is unjudged
    assert waits_for(unjudged, CANARY) == [
        "not proved yet: error +0 pp (at most +5 pp) of 300 answers"
    ]


def test_goes_back_as_soon_as_it_is_proved_worse() -> None:
    run, count = begun(), 0
    while run.status == "running":
        run, count = advance(fed(run, 1, WRONG), CANARY, now_us=count), count + 1
    assert run.status == "rolled_back"
    assert count < 20
    assert arm_of(run) is None
    assert stage_word(run) == "rolled back"
    assert run.steps[-1].by == "keeper"
    assert advance(fed(run, 500), CANARY, now_us=9).status == "rolled_back"


def test_a_stage_counts_its_own_answers() -> None:
    run = to_next_stage(fed(begun(), 7), now_us=5, by="operator", reason="")
    assert (run.stage, run.samples, run.since_us) == (1, 0, 5)
    run = saw_new(saw_old(run, RIGHT), RIGHT)
    assert run.samples == 1
    assert saw_label(run, new=0.0).samples == 1


def test_what_a_worker_does_at_each_stage() -> None:
    run = begun()
    assert arm_of(run) == Arm("new", "old", 0.0, is_shadow=True)
    run = to_next_stage(run, now_us=2, by="operator", reason="")
    assert arm_of(run) == Arm("new", "old", 0.01)
    assert arm_of(promote(run, now_us=3, by="operator", reason="")) == Arm("new", "old", 1.0)
    assert arm_of(roll_back(run, now_us=3, by="operator", reason="")) is None


def test_latency_keeps_to_the_routes_own_clock() -> None:
    keep = KeepIf(latency_quantile=0.95, latency_s=0.2)
    canary = msgspec.structs.replace(CANARY, keep_if=keep)
    assert allowed_by(canary) == Allowed(late=0.05)
    assert clock_of(ROUTE) == "total"
    limit = LatencyLimit(0.9, 0.2, "first_token")
    assert clock_of(msgspec.structs.replace(ROUTE, require=Require(limit))) == "first_token"


def test_a_latency_copies_cannot_show_is_not_waited_for_while_it_is_shown() -> None:
    keep = KeepIf(error=0.05, latency_quantile=0.95, latency_s=0.2)
    canary = msgspec.structs.replace(CANARY, keep_if=keep)
    limit = LatencyLimit(0.9, 0.2, "first_token")
    route = msgspec.structs.replace(ROUTE, canary=canary, require=Require(limit))
    run = advance(fed(begun(route), 250), canary, now_us=2)
    assert stage_word(run) == "1%"
    assert any("late" in one for one in waits_for(run, canary))


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"min_samples": 7}, True),
        ({"then": "hold"}, True),
        ({"stages": (0.1, 1.0)}, False),
        ({"keep_if": KeepIf(error=0.01)}, False),
        ({"backend": "other"}, False),
    ],
)
def test_another_promise_is_another_canary(change: dict[str, object], is_same: bool) -> None:
    facts = BackendFacts("new")
    changed = msgspec.structs.replace(CANARY, **change)
    route = msgspec.structs.replace(ROUTE, canary=changed)
    old = BackendFacts("old")
    assert (identity_of(route, facts, old) == identity_of(ROUTE, facts, old)) is is_same
    dearer = BackendFacts("new", price=Price(input=1.0, output=2.0))
    assert identity_of(ROUTE, dearer, old) != identity_of(ROUTE, facts, old)


def test_the_edit_that_makes_it_the_files_own_word() -> None:
    assert suggested_edit(ROUTE, begun()) == (
        "routes:\n  extract:\n    candidates: [new, gpt-4]  # new in place of old\n"
        "    # and take `canary:` out"
    )


def test_the_newest_steps_are_kept_and_outlive_a_restart() -> None:
    run = begun()
    for number in range(STEPS_MAX + 5):
        run = roll_back(run, now_us=number, by="operator", reason="")
    assert len(run.steps) == STEPS_MAX
    assert msgspec.json.decode(msgspec.json.encode(run), type=CanaryRun) == run


def test_a_route_without_checks_judges_nothing() -> None:
    checked = ConfidenceRule(signals=("checks",))
    route = msgspec.structs.replace(ROUTE, confidence=checked, checks=(Check("a"),))
    assert judges_answers(route)
    assert not judges_answers(ROUTE)
    assert not judges_answers(msgspec.structs.replace(ROUTE, confidence=checked))
    logprobs = ConfidenceRule(signals=("logprobs",))
    assert not judges_answers(msgspec.structs.replace(ROUTE, confidence=logprobs))
    second = ConfidenceRule(signals=("agreement",), agree_with="gpt-4")
    assert judges_answers(msgspec.structs.replace(ROUTE, confidence=second))
