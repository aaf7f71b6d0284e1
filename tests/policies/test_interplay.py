"""Every interplay of two words of a route: a golden case, or a reason why the two cannot meet.

The words are taken from the types, so one that is added asks for its cases here. A case gives a
route and one of: what is decided (`expect`), what follows an outcome (`after`), how the route's
own probes end (`probes`), that it is `refused` or `warned` about, that it `loads` without a word.
"""

from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from policies.canary_route import with_canary
from policies.canary_run import Arm
from policies.choice import World
from policies.decide import alternative, decide
from policies.probes import run_probes
from policies.recovery import SHARE
from policies.step import Accept, Ask, Outcome
from policies.steps import next_step
from policies.sticky import Held, stay
from policies.words import Require, Route
from tests.support.policy_cases import (
    chat,
    features_of,
    learned_from,
    observation,
    policy_of,
    read,
)

FOLDER = Path(__file__).parent / "golden" / "interplay"
LEARNED = learned_from(
    (50, observation("local", total_s=0.15, completion=8, prompt=100)),
    (50, observation("local-v2", total_s=0.14, completion=8, prompt=100)),
    (50, observation("gpt-4", total_s=1.0, completion=8, prompt=100)),
    (50, observation("o3-mini", total_s=5.0, completion=1008, prompt=100)),
)


def words_of_a_route():
    """Every word of the language, as it is written."""
    fields = [name for name in Route.__struct_fields__ if name not in ("name", "require")]
    return [*fields, *(f"require.{name}" for name in Require.__struct_fields__)]


@cache
def documents():
    return [(file, yaml.safe_load(file.read_text())) for file in sorted(FOLDER.glob("*.yaml"))]


def cases():
    for _, document in documents():
        for number, case in enumerate(document.get("cases", ()), 1):
            checks = yaml.safe_dump(document.get("checks", {}), default_flow_style=True)
            yield pytest.param(checks, case, id=f"{' + '.join(case['meet'])} {number}")


@cache
def with_a_case():
    return {frozenset(c["meet"]) for _, d in documents() for c in d.get("cases", ())}


@cache
def kept_apart():
    return [
        frozenset((one, other))
        for _, document in documents()
        for reason in document.get("apart", ())
        for one in reason["between"]
        for other in reason["and"]
    ]


def text_of(checks, case):
    return (
        f"checks: {checks}\nroutes:\n  r: {{{case['route']}}}\n  default: {{candidates: [gpt-4]}}\n"
    )


@pytest.mark.parametrize("pair", list(combinations(words_of_a_route(), 2)), ids=" + ".join)
def test_every_two_words_have_a_case_or_a_reason(pair):
    assert frozenset(pair) in with_a_case() or frozenset(pair) in kept_apart()


def test_no_reason_is_given_for_what_has_a_case():
    assert [sorted(pair) for pair in kept_apart() if pair in with_a_case()] == []


def test_every_word_named_exists():
    words = set(words_of_a_route())
    named = {word for pair in (*with_a_case(), *kept_apart()) for word in pair}
    assert named <= words


def test_no_pair_has_two_reasons():
    apart = kept_apart()
    assert sorted(sorted(pair) for pair in set(apart) if apart.count(pair) > 1) == []


def test_every_reason_is_a_sentence():
    for _, document in documents():
        for reason in document.get("apart", ()):
            assert len(reason["why"].split()) > 6


@pytest.mark.parametrize(("checks", "case"), list(cases()))
def test_a_case_writes_both_words(checks, case):
    written = yaml.safe_load(text_of(checks, case))["routes"]["r"]
    for word in case["meet"]:
        if word == case.get("lacks"):
            continue
        holder, _, inner = word.partition(".")
        assert holder in written
        assert not inner or inner in written[holder]


@pytest.mark.parametrize(("checks", "case"), list(cases()))
def test_golden(checks, case):
    text = text_of(checks, case)
    if "refused" in case:
        _, findings = read(text)
        assert any(case["refused"] in problem.message for problem in findings.errors)
        return
    if "warned" in case or "loads" in case:
        policy, findings = read(text)
        assert policy is not None, [problem.message for problem in findings.errors]
        messages = [problem.message for problem in findings.warnings]
        assert not messages if case.get("loads") else any(case["warned"] in m for m in messages)
        return
    policy = policy_of(text)
    if "probes" in case:
        found = [result.message for result in run_probes(policy)]
        assert [m.startswith(want) for m, want in zip(found, case["probes"], strict=True)] == [
            True
        ] * len(found), found
    elif "after" in case:
        hold_after(policy, case)
    else:
        hold_decision(policy, case)


def matched(policy, case):
    features = features_of(chat(model=case.get("model", "r")), labels={"task": "t"})
    features.prompt_bytes = 400
    match = policy.route_for(features.model, features.labels)
    if "arm" in case:
        arm = Arm(case["arm"], match.route.canary.replaces, 1.0)
        match = with_canary(match, arm, policy.backends)
    return match, features


def decided(policy, case):
    match, features = matched(policy, case)
    world = World(
        LEARNED if case.get("seen", True) else learned_from(),
        unavailable=case.get("unavailable", {}),
        certified=frozenset({"r"} if case.get("certified") else ()),
    )
    decision = decide(
        policy, match, features, world,
        decision_id="d", seed=case.get("seed", 7), acceptable=case.get("acceptable"),
    )  # fmt: skip
    if "held" in case:
        held = Held(case["held"], tuple(case.get("held_with", {}).items()))
        decision, _ = stay(decision, held, match.compiled.plans)
    return match, features, world, decision


def hold_decision(policy, case):
    match, features, world, decision = decided(policy, case)
    expect = case["expect"]
    if "alternative" in expect:
        found = alternative(match, features, world, besides=case["alternative_to"], unavailable={})
        assert (found and found.backend) == expect["alternative"]
    if "chosen" in expect:
        assert decision.chosen == expect["chosen"], decision.reason
    assert decision.reason == expect.get("reason", decision.reason)
    candidates = {candidate.backend: asdict(candidate) for candidate in decision.candidates}
    for name, words in expect.get("candidates", {}).items():
        for key, value in words.items():
            assert candidates[name][key] == pytest.approx(value), f"{name}.{key}"
    plan = [[step.step, step.backend, step.condition] for step in decision.plan]
    assert plan == expect.get("plan", plan)
    if "plan_escalates_to" in expect:
        assert expect["plan_escalates_to"] in [step[1] for step in plan if step[0] == "escalate"]


def hold_after(policy, case):
    _, _, _, decision = decided(policy, case)
    after = case["after"]
    found = next_step(
        decision,
        [Outcome(**words) for words in after["outcomes"]],
        time_left_s=after.get("time_left_s", 30.0),
        elapsed_s=1.0,
    )
    said = {"reason": found.reason}
    if isinstance(found, Ask):
        said |= {"ask": found.backend, "kind": found.kind}
    else:
        said["accept" if isinstance(found, Accept) else "give_up"] = found.index
    assert said == said | after["expect"]


# -- what must hold whatever the words -----------------------------------------------------------

NAMES = ["local", "local-v2", "gpt-4", "o3-mini"]
PREFERENCES = ["cheapest", "fastest", "surest", "weighted, weights: {error: $0.05, late: $0.01}"]
AFTERWARDS = [
    "",
    ", on_failure: [gpt-4, o3-mini]",
    ", confidence: {from: schema, accept: 0.7}, escalate: {to: [gpt-4, o3-mini], max_steps: 2}",
    ", confidence: {from: schema, accept: 0.7}, escalate: {to: [o3-mini], within: 2s}",
    ", hedge: {after: p95, max_extra_cost: 5%}, on_failure: [local-v2]",
]
MEASURED = st.lists(
    st.tuples(
        st.just(25),
        st.builds(
            observation,
            backend=st.sampled_from(NAMES),
            prompt=st.integers(1, 3000),
            completion=st.integers(1, 3000),
            total_s=st.floats(0.01, 30),
        ),
    ),
    max_size=5,
)
CHANCES = st.dictionaries(st.sampled_from(NAMES), st.floats(allow_nan=True), max_size=4)


@settings(max_examples=60)
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True),
    quantile=st.sampled_from([50, 90, 95]),
    budget_ms=st.integers(20, 20_000),
    max_usd=st.floats(0.0001, 0.1),
    prefer=st.sampled_from(PREFERENCES),
    share=st.sampled_from([0, 5, 100]),
    seen=MEASURED,
    chances=CHANCES,
    out=st.sets(st.sampled_from(NAMES), max_size=2),
    seed=st.integers(0, 1 << 62),
)
def test_no_hard_limit_is_broken_while_somebody_meets_them_all(
    names, quantile, budget_ms, max_usd, prefer, share, seen, chances, out, seed
):
    route = (
        f"candidates: [{', '.join(names)}], prefer: {prefer}, explore: {{share: {share}%}}, "
        f"require: {{latency: {{p{quantile}: {budget_ms}ms}}, cost: {{max: ${max_usd:.9f}}}}}"
    )
    policy = policy_of(f"routes:\n  r: {{{route}}}\n  default: {{candidates: [gpt-4]}}\n")
    match = policy.route_for("r", {})
    features = features_of(chat(model="r"), labels={"task": "t"})
    world = World(learned_from(*seen), unavailable=dict.fromkeys(out, "out"))
    decision = decide(
        policy, match, features, world, decision_id="d", seed=seed, acceptable=chances
    )

    def meets(one):
        in_time = one.latency_p_within is None or one.latency_p_within >= quantile / 100
        return in_time and (one.cost_usd is None or one.cost_usd <= max_usd + 1e-12)

    there = [one for one in decision.candidates if one.backend not in out]
    (chosen,) = [one for one in decision.candidates if one.backend == decision.chosen]
    is_trial = decision.reason.startswith("tried again")  # nothing was heard of it: unknown
    if any(map(meets, there)) and not is_trial:
        assert chosen.eligible
        assert chosen.backend not in out
    assert sum(one.propensity for one in decision.candidates) == pytest.approx(1.0)
    for one in decision.candidates:
        assert 0.0 <= one.propensity <= 1.0
        assert one.propensity <= SHARE or one.eligible or not any(map(meets, there))
        assert one.p_acceptable is None or 0.0 <= one.p_acceptable <= 1.0
        assert one.latency_p_within is None or 0.0 <= one.latency_p_within <= 1.0


OUTCOMES = st.lists(
    st.builds(
        Outcome,
        backend=st.sampled_from(NAMES),
        failure=st.sampled_from([None, None, "connect", "timeout", "reset", "cut"]),
        retryable=st.booleans(),
        retry_after_s=st.none() | st.floats(0, 100),
        confidence=st.none() | st.floats(0, 1) | st.just(float("nan")),
        kind=st.sampled_from(["primary", "retry", "fallback", "escalation"]),
    ),
    min_size=1,
    max_size=3,
)


@given(
    after=st.sampled_from(AFTERWARDS),
    outcomes=OUTCOMES,
    time_left_s=st.floats(-1, 60),
    elapsed_s=st.floats(0, 60),
    seed=st.integers(0, 1 << 62),
)
def test_no_plan_goes_beyond_the_deadline(after, outcomes, time_left_s, elapsed_s, seed):
    text = f"routes:\n  r: {{candidates: [local]{after}}}\n  default: {{candidates: [gpt-4]}}\n"
    policy = policy_of(text)
    match = policy.route_for("r", {})
    features = features_of(chat(model="r"), labels={"task": "t"})
    decision = decide(policy, match, features, World(LEARNED), decision_id="d", seed=seed)
    found = next_step(decision, outcomes, time_left_s=time_left_s, elapsed_s=elapsed_s)
    if isinstance(found, Ask):
        assert found.delay_s >= 0.0
        assert found.time_left_s > 0.0
        assert found.delay_s + found.time_left_s <= time_left_s + 1e-9
        if found.kind == "escalation" and "within: 2s" in after:
            assert elapsed_s + found.delay_s + found.time_left_s <= 2.0 + 1e-9
    else:
        assert 0 <= found.index < len(outcomes)
