"""What follows an attempt: the golden cases of `golden/after/*.yaml`, and what must hold of all."""

import dataclasses
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from policies.choice import World
from policies.decide import decide
from policies.step import ALL_WELL, Accept, Ask, GiveUp, Outcome, Upstream
from policies.steps import ATTEMPTS_MAX, HEDGE_LOST, HOPELESS, is_awaited, next_step
from tests.support.policy_cases import features_of, learned_from, observation, policy_of

GOLDEN = Path(__file__).parent / "golden" / "after"
PLAIN = "candidates: local"
FALLBACK = "candidates: local, on_failure: [gpt-4, o3-mini]"
ESCALATING = (
    "candidates: local, confidence: {from: checks, accept: 0.8}, escalate: {to: [gpt-4, o3-mini]}"
)


def decision_of(words, *seen, seed=1):
    policy = policy_of(f"routes:\n  r: {{{words}}}\n  default: {{candidates: [gpt-4]}}")
    match = policy.route_for("r", {})
    world = World(learned_from(*seen))
    return decide(
        policy, match, features_of(labels={"task": "t"}), world, decision_id="d", seed=seed
    )


def step(words, *outcomes, time_left_s=30.0, elapsed_s=1.0, seen=(), seed=1, upstream=ALL_WELL):
    decision = decision_of(words, *seen, seed=seed)
    return next_step(
        decision, outcomes, time_left_s=time_left_s, elapsed_s=elapsed_s, upstream=upstream
    )


def without(*names):
    """These are out of order."""
    return Upstream(dict.fromkeys(names, "breaker open"))


def broke(*names):
    """These fail, and the budget is spent."""
    return Upstream({}, frozenset(names))


def status(code, backend="local", kind="primary", **more):
    retryable = more.pop("retryable", code in (408, 409, 425, 429) or code >= 500)
    return Outcome(
        backend=backend, kind=kind, failure="status", http_status=code, retryable=retryable, **more
    )


def wire(failure, backend="local", kind="primary", retryable=True, **more):
    return Outcome(backend=backend, kind=kind, failure=failure, retryable=retryable, **more)


def answer(confidence=None, backend="local", kind="primary", **more):
    return Outcome(backend=backend, kind=kind, http_status=200, confidence=confidence, **more)


# -- golden cases --------------------------------------------------------------------------------


def golden_cases():
    for file in sorted(GOLDEN.glob("*.yaml")):
        text = file.read_text()
        for case in yaml.safe_load(text)["cases"]:
            yield pytest.param(text, case, id=f"{file.stem}: {case['name']}")


@pytest.mark.parametrize(("text", "case"), list(golden_cases()))
def test_golden(text, case):
    policy = policy_of(text)
    match = policy.route_for(case["route"], {})
    world = World(learned_from())
    decision = decide(policy, match, features_of(), world, decision_id="d", seed=7)
    found = next_step(
        decision,
        [Outcome(**words) for words in case["outcomes"]],
        time_left_s=case.get("time_left_s", 30.0),
        elapsed_s=case.get("elapsed_s", 1.0),
        upstream=Upstream(case.get("unavailable", {})),
        contexts=case.get("contexts", {}),
    )
    said = {"reason": found.reason}
    if isinstance(found, Ask):
        said |= {"ask": found.backend, "kind": found.kind, "delay_s": found.delay_s}
    else:
        said["accept" if isinstance(found, Accept) else "give_up"] = found.index
    assert said == said | case["expect"]


# -- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_retries_what_another_moment_may_cure(code):
    found = step(PLAIN, status(code))
    assert (found.backend, found.kind) == ("local", "retry")
    assert 0 <= found.delay_s <= 0.025
    assert found.reason == f"local failed (status {code}), again"


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 413, 422])
@pytest.mark.parametrize("words", [PLAIN, FALLBACK])
def test_passes_on_what_the_client_must_mend(code, words):
    assert step(words, status(code)) == GiveUp(0, f"status {code} is passed on")


@pytest.mark.parametrize("failure", ["dns", "connect", "tls", "reset", "protocol", "not_json"])
def test_retries_failures_of_the_wire(failure):
    assert step(PLAIN, wire(failure)).kind == "retry"


@pytest.mark.parametrize("failure", ["timeout", "dns", "connect", "tls", "full", "not_ready"])
def test_next_backend_at_once_where_the_next_moment_cures_nothing(failure):
    found = step(FALLBACK, wire(failure))
    assert found == Ask("gpt-4", "fallback", 0.0, f"local failed ({failure})", 30.0)


def test_next_backend_at_once_when_rate_limited():
    assert step(FALLBACK, status(429)).backend == "gpt-4"
    assert step(FALLBACK, status(503, retry_after_s=0.1)).backend == "gpt-4"


def test_timeout_is_not_retried_on_the_same_backend():
    assert step(PLAIN, wire("timeout")) == GiveUp(0, "timeout, nobody left to ask")


def test_same_backend_once_more_then_the_fallback():
    first = status(503)
    assert step(FALLBACK, first).kind == "retry"
    second = status(503, kind="retry")
    assert step(FALLBACK, first, second).backend == "gpt-4"


def test_fallbacks_go_in_order_and_nobody_is_asked_twice():
    found = step(FALLBACK, wire("connect"), wire("connect", "gpt-4", "fallback"))
    assert (found.backend, found.kind) == ("o3-mini", "fallback")
    own = "candidates: local, on_failure: [local, gpt-4]"
    assert step(own, wire("connect")).backend == "gpt-4"


def test_last_attempt_goes_to_a_backend_not_asked_yet():
    found = step(FALLBACK, wire("connect"), status(503, "gpt-4", "fallback"))
    assert (found.backend, found.kind) == ("o3-mini", "fallback")


def test_three_attempts_are_the_most():
    failures = [status(503), status(503, kind="retry"), status(503, kind="retry")]
    assert step(PLAIN, *failures) == GiveUp(2, "3 attempts made")


def test_spent_quota_goes_to_another_backend_but_not_to_the_same():
    spent = status(429, retryable=False)
    assert step(PLAIN, spent) == GiveUp(0, "status 429, nobody left to ask")
    assert step(FALLBACK, spent).backend == "gpt-4"


@pytest.mark.parametrize("words", [PLAIN, FALLBACK])
def test_nothing_follows_once_the_client_has_seen_a_part(words):
    found = step(words, wire("cut", is_visible=True))
    assert found == GiveUp(0, "part of the answer has reached the client")
    assert isinstance(step(words, wire("cut", retryable=False)), GiveUp)


def test_nothing_follows_a_client_that_left():
    assert step(FALLBACK, wire("client_gone")) == GiveUp(0, "the client has gone")


def test_nothing_follows_the_deadline():
    assert step(FALLBACK, wire("timeout"), time_left_s=0.0) == GiveUp(0, "no time left")


def test_waits_as_long_as_asked_and_up_to_half_as_long_again():
    for seed in range(20):
        found = step(PLAIN, status(429, retry_after_s=2.0), seed=seed)
        assert 2.0 <= found.delay_s <= 3.0
        assert found.time_left_s == pytest.approx(30.0 - found.delay_s)


def test_does_not_wait_past_the_deadline():
    found = step(PLAIN, status(429, retry_after_s=2.0), time_left_s=1.5)
    assert found == GiveUp(0, "status 429, nobody left to ask")


def test_a_full_backend_is_not_waited_for():
    assert step(PLAIN, wire("full")) == GiveUp(0, "full, nobody left to ask")


def test_a_connection_refused_twice_is_not_tried_a_third_time():
    assert step(PLAIN, wire("connect")).kind == "retry"
    twice = [wire("connect"), wire("connect", kind="retry")]
    assert step(PLAIN, *twice) == GiveUp(1, "connect, nobody left to ask")
    both = [wire("connect"), wire("connect", backend="gpt-4", kind="fallback")]
    assert step("candidates: local, on_failure: [gpt-4]", *both).index == 1


def test_backend_out_of_order_is_passed_over():
    assert step(FALLBACK, status(503), upstream=without("local")).backend == "gpt-4"
    assert step(FALLBACK, status(429), upstream=without("gpt-4")).backend == "o3-mini"
    assert step(FALLBACK, wire("connect"), upstream=without("gpt-4", "o3-mini")).kind == "retry"
    spare = "candidates: [local, local-v2], on_failure: [gpt-4]"
    assert step(spare, status(503), upstream=without("local", "gpt-4")) == GiveUp(
        0, "status 503, nobody left to ask"
    )


def test_of_a_route_with_nobody_in_order_everybody_is_asked():
    out = without("local", "gpt-4", "o3-mini")
    assert step(PLAIN, status(503), upstream=out).backend == "local"
    assert step(FALLBACK, status(429), upstream=out).backend == "gpt-4"


def test_backend_that_said_when_to_come_back_is_waited_for_though_paused():
    spare = "candidates: [local, gpt-4]"
    found = step(spare, status(429, retry_after_s=1.0), upstream=without("local"))
    assert (found.backend, found.kind) == ("local", "retry")
    assert found.delay_s >= 1.0


def test_spent_budget_spares_the_backends_that_fail():
    assert step(PLAIN, status(503), upstream=broke("local")) == GiveUp(
        0, "status 503, the retry budget is spent", True
    )
    found = step(FALLBACK, status(503), upstream=broke("local"))
    assert (found.backend, found.kind) == ("gpt-4", "fallback")
    assert step(FALLBACK, status(503), upstream=broke("local", "gpt-4")).backend == "o3-mini"
    assert step(FALLBACK, status(503), upstream=broke("local", "gpt-4", "o3-mini")).is_broke


def test_escalation_passes_over_who_is_out_of_order():
    assert step(ESCALATING, answer(0.1), upstream=without("gpt-4")).backend == "o3-mini"
    out = without("gpt-4", "o3-mini")
    assert step(ESCALATING, answer(0.1), upstream=out).index == 0


def test_a_wait_of_minutes_is_not_a_plan():
    found = step(PLAIN, status(503, retry_after_s=301.0), time_left_s=1000.0)
    assert isinstance(found, GiveUp)


def test_waiting_grows_is_drawn_from_the_seed_and_stays_below_its_ceiling():
    again = [status(503), status(503, kind="retry")]
    seeds = range(200)
    first = [step(PLAIN, *again[:1], seed=seed).delay_s for seed in seeds]
    second = [step(PLAIN, *again, seed=seed).delay_s for seed in seeds]
    assert first == [step(PLAIN, *again[:1], seed=seed).delay_s for seed in seeds]
    assert max(first) <= 0.025 < max(second) <= 0.1
    assert len(set(first)) > 190


# -- whole answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [None, 0.8, 1.0])
def test_trusted_answer_is_accepted(confidence):
    assert step(ESCALATING, answer(confidence)) == Accept(0)


def test_unsure_answer_is_escalated():
    found = step(ESCALATING, answer(0.5))
    assert found == Ask("gpt-4", "escalation", 0.0, "confidence 0.5 below 0.8", 30.0)


def test_answer_of_a_route_that_judges_nothing_is_accepted():
    assert step(PLAIN, answer(0.0)) == Accept(0)


def test_unsure_answer_with_nobody_to_ask_is_accepted_and_says_so():
    words = "candidates: local, confidence: {accept: 0.8}"
    assert step(words, answer(0.5)) == Accept(0, "confidence 0.5 below 0.8, nobody left to ask")


def test_escalates_no_more_often_than_max_steps():
    outcomes = [answer(0.5), answer(0.6, "gpt-4", "escalation")]
    assert step(ESCALATING, *outcomes) == Accept(1, "confidence 0.6 below 0.8, nobody left to ask")
    twice = ESCALATING.replace("o3-mini]", "o3-mini], max_steps: 2")
    assert step(twice, *outcomes).backend == "o3-mini"


def test_backend_that_answered_is_not_asked_again():
    words = ESCALATING.replace("[gpt-4", "[local, gpt-4")
    assert step(words, answer(0.5)).backend == "gpt-4"


def test_of_unsure_answers_the_most_trusted_is_kept():
    outcomes = [answer(0.6), answer(0.3, "gpt-4", "escalation")]
    assert step(ESCALATING, *outcomes).index == 0
    even = [answer(0.6), answer(0.6, "gpt-4", "escalation")]
    assert step(ESCALATING, *even).index == 1


def test_escalation_that_fails_leaves_the_earlier_answer():
    outcomes = [answer(0.5), status(503, "gpt-4", "escalation")]
    assert step(ESCALATING, *outcomes) == Accept(0, "escalation to gpt-4 failed (status 503)")


def test_escalation_has_until_within_and_no_longer():
    words = ESCALATING.replace("o3-mini]", "o3-mini], within: 1500ms")
    assert step(words, answer(0.5), elapsed_s=0.2).time_left_s == pytest.approx(1.3)
    assert step(words, answer(0.5), elapsed_s=0.2, time_left_s=0.7).time_left_s == 0.7
    late = step(words, answer(0.5), elapsed_s=1.5)
    assert late == Accept(0, "confidence 0.5 below 0.8, no time to ask gpt-4")


def test_does_not_escalate_to_who_cannot_answer_in_time():
    words = ESCALATING.replace("candidates: local", "candidates: [local, gpt-4]")
    slow = (20, observation("gpt-4", total_s=5.0))
    assert isinstance(step(words, answer(0.5), time_left_s=4.0, seen=[slow]), Accept)
    assert isinstance(step(words, answer(0.5), time_left_s=6.0, seen=[slow]), Ask)


def test_unsure_answer_already_sent_is_accepted():
    found = step(ESCALATING, answer(0.5, is_visible=True))
    assert found == Accept(0, "confidence 0.5 below 0.8, but already sent")


def test_fallbacks_answer_may_be_escalated_too():
    words = ESCALATING + ", on_failure: gpt-4"
    found = step(words, wire("connect"), answer(0.2, "gpt-4", "fallback"))
    assert (found.backend, found.kind) == ("o3-mini", "escalation")


OUTCOMES = st.builds(
    Outcome,
    backend=st.just("local"),
    failure=st.sampled_from([None, "status", "timeout", "connect", "reset", "cut"]),
    http_status=st.sampled_from([None, 200, 400, 429, 500, 503]),
    retryable=st.booleans(),
    retry_after_s=st.none() | st.floats(0, 1000),
    confidence=st.none() | st.floats(0, 1),
    is_visible=st.booleans(),
)


@given(
    words=st.sampled_from([PLAIN, FALLBACK, ESCALATING, ESCALATING + ", on_failure: gpt-4"]),
    script=st.lists(OUTCOMES, min_size=ATTEMPTS_MAX + 1, max_size=ATTEMPTS_MAX + 1),
    time_left_s=st.floats(-1, 60),
    seed=st.integers(0, 2**63),
)
def test_every_request_ends_within_its_attempts_and_its_time(words, script, time_left_s, seed):
    decision = decision_of(words, seed=seed)
    outcomes = [script[0]]
    while True:
        found = next_step(decision, outcomes, time_left_s=time_left_s, elapsed_s=1.0)
        if not isinstance(found, Ask):
            break
        assert not outcomes[-1].is_visible
        assert 0 <= found.delay_s < time_left_s
        assert 0 < found.time_left_s <= time_left_s
        following = replace(script[len(outcomes)], backend=found.backend, kind=found.kind)
        outcomes.append(following)
        assert len(outcomes) <= ATTEMPTS_MAX
    is_whole = outcomes[found.index].failure is None
    assert is_whole == isinstance(found, Accept)


NAMES = ("local", "gpt-4", "o3-mini", "local-v2")
EVERYTHING = (
    "candidates: [local, local-v2], on_failure: [gpt-4, o3-mini],"
    " confidence: {from: [logprobs, agreement], agree_with: gpt-4, accept: 0.8},"
    " escalate: {to: [gpt-4, o3-mini], max_steps: 2, within: 5s}"
)
ENDS = st.builds(
    Outcome,
    backend=st.sampled_from(NAMES),
    kind=st.sampled_from(["primary", "hedge", "retry", "fallback", "escalation", "agreement"]),
    failure=st.sampled_from([None, HOPELESS, HEDGE_LOST, "status", "timeout", "connect"]),
    http_status=st.sampled_from([200, 400, 429, 503]),
    retryable=st.booleans(),
    retry_after_s=st.none() | st.floats(0, 100),
    confidence=st.none() | st.floats(0, 1),
    refusal=st.sampled_from([None, "context_window", "content_filter"]),
    is_visible=st.booleans(),
)


@given(
    outcomes=st.lists(ENDS, min_size=1, max_size=ATTEMPTS_MAX),
    time_left_s=st.floats(-1, 60),
    elapsed_s=st.floats(0, 60),
    contexts=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 10)),
    out=st.sets(st.sampled_from(NAMES)),
)
def test_no_step_breaks_what_is_hard(outcomes, time_left_s, elapsed_s, contexts, out):
    decision = decision_of(EVERYTHING)
    found = next_step(
        decision, outcomes, time_left_s=time_left_s, elapsed_s=elapsed_s,
        upstream=Upstream(dict.fromkeys(out, "breaker open")), contexts=contexts,
    )  # fmt: skip
    if not isinstance(found, Ask):
        assert isinstance(found, Accept) == (outcomes[found.index].failure is None)
        return
    route, last = decision.route, outcomes[-1]
    assert len(outcomes) < ATTEMPTS_MAX
    assert not last.is_visible
    assert 0 <= found.delay_s < time_left_s
    assert 0 < found.time_left_s <= time_left_s - found.delay_s
    if found.kind == "escalation":
        assert found.backend in route.escalate.to
        assert found.time_left_s <= route.escalate.within_s - elapsed_s
        steps = [one.kind in ("escalation", "agreement") for one in outcomes]
        assert sum(steps) < route.escalate.max_steps
    if found.reason.endswith("refused (context window)"):
        too_small = [contexts.get(o.backend) for o in outcomes if o.refusal == "context_window"]
        sizes = [size for size in too_small if size is not None]
        if found.backend in contexts and sizes:
            assert contexts[found.backend] > max(sizes)
        assert found.backend in (*route.on_failure, *route.candidates)
    if (
        out != set(NAMES)
        and found.kind != "retry"
        and HOPELESS not in [o.failure for o in outcomes]
    ):
        assert found.backend not in out or not set(NAMES) - out


# -- two attempts at once ------------------------------------------------------------------------


def test_both_failed_leaves_one_more_attempt():
    both = wire("reset", "local"), wire("reset", "gpt-4", "hedge")
    assert step(FALLBACK, *both).backend == "o3-mini"
    last = wire("reset", "o3-mini", "fallback")
    assert isinstance(step(FALLBACK, *both, last), GiveUp)


@pytest.mark.parametrize("final", [0, 1])
def test_of_two_failures_the_one_that_is_final_is_passed_on(final):
    failures = [status(503), status(503, "gpt-4", "hedge")]
    failures[final] = replace(failures[final], http_status=400, retryable=False)
    found = step(FALLBACK, *failures)
    assert (type(found), found.index) == (GiveUp, final)


def test_who_was_aborted_for_the_other_may_be_asked_again():
    lost = wire(HEDGE_LOST, "gpt-4", "hedge")
    assert step(ESCALATING, lost, answer(0.1)).backend == "gpt-4"
    assert step(ESCALATING, lost, answer(0.9)) == Accept(1)


@pytest.mark.parametrize(
    ("words", "confidence", "backend", "waits"),
    [
        (ESCALATING, 0.1, "gpt-4", True),
        (ESCALATING, 0.1, "o3-mini", False),
        (ESCALATING, 0.9, "gpt-4", False),
        (ESCALATING, None, "gpt-4", False),
        (PLAIN, 0.1, "gpt-4", False),
    ],
)
def test_an_answer_in_doubt_waits_for_who_would_be_next(words, confidence, backend, waits):
    route = decision_of(words).route
    assert is_awaited(route, answer(confidence), backend) is waits


# -- under a promise -----------------------------------------------------------------------------


def proved(*outcomes):
    """The step on a route whose lock accepts from 0.8 on."""
    promised = f"{ESCALATING}, require: {{error: {{max: 9%, reference: gpt-4}}}}"
    decision = decision_of(promised)
    rule = replace(decision.route.confidence, model="")
    decision = dataclasses.replace(decision, route=replace(decision.route, confidence=rule))
    return next_step(decision, outcomes, time_left_s=30.0, elapsed_s=1.0)


def test_what_nothing_is_known_of_was_not_proved_right():
    assert proved(answer(None)) == Ask("gpt-4", "escalation", 0.0, "confidence unknown", 30.0)
    assert proved(answer(0.9)) == Accept(0)


def test_the_references_own_answer_is_as_good_as_promised():
    assert proved(answer(0.1, backend="gpt-4")) == Accept(0)
    assert proved(answer(None, backend="gpt-4")) == Accept(0)
    assert proved(answer(0.1), answer(0.2, backend="gpt-4", kind="escalation")) == Accept(1)


# -- no numbers ----------------------------------------------------------------------------------


def test_a_confidence_that_is_no_number_is_unknown_and_no_low_one():
    assert step(ESCALATING, answer(math.nan)) == step(ESCALATING, answer(None))
    assert isinstance(step(ESCALATING, answer(math.nan)), Accept)


def test_an_answer_of_unknown_confidence_is_not_better_than_a_trusted_one():
    words = ESCALATING.replace("accept: 0.8", "accept: 0.99")
    found = step(words, answer(0.9), answer(math.nan, "gpt-4", "escalation"))
    assert found.index == 1  # unknown is accepted
    found = step(words, answer(0.9), answer(math.nan, "gpt-4", "escalation"), time_left_s=0.0)
    assert isinstance(found, Accept)
