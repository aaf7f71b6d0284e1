"""Decisions: the golden cases of `golden/*.yaml`, and what must hold of all of them.

A case gives a route (or a whole request), what was seen, and what the decision must say; keys
that a case does not name are not looked at.
"""

import dataclasses
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from pointsman.tokens import Price
from policies.canary_route import with_canary
from policies.canary_run import Arm
from policies.choice import World
from policies.decide import decide
from policies.facts import BackendFacts, Expect
from tests.support.policy_cases import (
    BACKENDS,
    chat,
    features_of,
    learned_from,
    observation,
    policy_of,
    route_of,
)

GOLDEN = Path(__file__).parent / "golden"


def golden_cases():
    for file in sorted(GOLDEN.glob("*.yaml")):
        text = file.read_text()
        for case in yaml.safe_load(text)["cases"]:
            yield pytest.param(text, case, id=f"{file.stem}: {case['name']}")


def backends_of(document):
    facts = {**BACKENDS, "free": BackendFacts("free")}
    for name, words in document.get("backends", {}).items():
        expect = Expect(**words["expect"]) if "expect" in words else None
        facts[name] = BackendFacts(name, Price(**words["price"]), expect)
    return facts


def request_of(case):
    request = {"model": case.get("route"), "labels": {}, **case.get("request", {})}
    features = features_of(
        chat(model=request["model"], max_tokens=request.get("max_tokens")),
        labels={"task": "t", **request["labels"]},
    )
    return dataclasses.replace(features, prompt_bytes=request.get("prompt_bytes", 400))


def world_of(case):
    seen = [dict(words) for words in case.get("seen", [])]
    return World(
        learned_from(*[(words.pop("count"), observation(**words)) for words in seen]),
        in_flight=case.get("in_flight", {}),
        unavailable=case.get("unavailable", {}),
        certified=frozenset(case.get("certified", ())),
    )


@pytest.mark.parametrize(("text", "case"), list(golden_cases()))
def test_golden(text, case):
    policy = policy_of(text, backends_of(yaml.safe_load(text)))
    features = request_of(case)
    match = policy.route_for(features.model, features.labels)
    if "canary" in case:
        arm = Arm(case["canary"], match.route.canary.replaces, 1.0)
        match = with_canary(match, arm, policy.backends)
    decision = decide(policy, match, features, world_of(case), decision_id="d", seed=7)
    expect = case["expect"]
    assert decision.chosen == expect["chosen"]
    assert decision.reason == expect.get("reason", decision.reason)
    assert decision.route.name == expect.get("route", decision.route.name)
    candidates = {candidate.backend: asdict(candidate) for candidate in decision.candidates}
    for name, words in expect.get("candidates", {}).items():
        for key, value in words.items():
            found = candidates[name][key]
            assert found == (
                value if isinstance(value, str | None) else pytest.approx(value, rel=0.05)
            ), f"{name}.{key}"
    plan = [[step.step, step.backend, step.condition] for step in decision.plan]
    assert plan == expect.get("plan", plan)


def decision_of(words, world=None, *, seed=42, acceptable=None, **request):
    match = route_of(words)
    policy = policy_of("routes: {default: {candidates: [gpt-4]}}")
    return decide(
        policy, match, features_of(chat(**request)), world or World(learned_from()),
        decision_id="d-1", seed=seed, acceptable=acceptable,
    )  # fmt: skip


def test_decision_carries_its_identity():
    decision = decision_of("candidates: [local, gpt-4]", World(learned_from((3, observation()))))
    assert (decision.decision_id, decision.seed, decision.state) == ("d-1", 42, "v3")
    assert decision.policy == policy_of("routes: {default: {candidates: [gpt-4]}}").digest


def test_single_candidate_is_the_only_one():
    assert decision_of("candidates: local").reason == "the only candidate"


def test_more_choices_may_take_more_tokens():
    words = "candidates: local, require: {latency: {p90: 200ms}}"
    assert decision_of(words, max_tokens=12).candidates[0].latency_p_within == 1
    assert decision_of(words, max_tokens=12, n=3).candidates[0].latency_p_within is None


WEIGHTED = "candidates: [gpt-4, local], prefer: weighted, weights: {error: $1}"


def test_weights_take_the_cheapest_while_nothing_is_known_of_the_answers():
    decision = decision_of(WEIGHTED)
    assert (decision.chosen, decision.reason) == ("local", "best by weight of 2")


def test_weights_pay_for_a_likelier_answer():
    found = decision_of(WEIGHTED, acceptable={"local": 0.5, "gpt-4": 0.99})
    assert found.chosen == "gpt-4"
    assert [candidate.p_acceptable for candidate in found.candidates] == [0.99, 0.5]
    assert decision_of(WEIGHTED, acceptable={"local": 0.98, "gpt-4": 0.99}).chosen == "local"


@pytest.mark.parametrize("unknown", [math.nan, -1.0, 2.0])
def test_a_chance_that_is_none_is_unknown(unknown):
    found = decision_of(WEIGHTED, acceptable={"local": unknown, "gpt-4": 0.9})
    assert found.candidates[1].p_acceptable is None


def test_surest_is_the_likeliest_where_that_is_known_of_all():
    words = "candidates: [gpt-4, local], prefer: surest"
    assert decision_of(words, acceptable={"local": 0.9, "gpt-4": 0.8}).chosen == "local"
    assert decision_of(words, acceptable={"local": 0.9}).chosen == "gpt-4"


def test_a_preference_that_weighs_no_chances_shows_them_all_the_same():
    found = decision_of("candidates: [gpt-4, local]", acceptable={"local": 0.1, "gpt-4": math.nan})
    assert found.chosen == decision_of("candidates: [gpt-4, local]").chosen
    assert [candidate.p_acceptable for candidate in found.candidates] == [None, 0.1]


EXPLORED = "candidates: [gpt-4, local, o3-mini], explore: {share: 30%}"


def test_exploring_draws_among_the_eligible_and_says_with_which_probability():
    decisions = [decision_of(EXPLORED, seed=seed) for seed in range(600)]
    (preferred,) = {d.chosen for d in decisions if not d.reason.startswith("explored")}
    for decision in decisions[:5]:
        odds = {c.backend: c.propensity for c in decision.candidates}
        assert odds == {b: pytest.approx(0.8 if b == preferred else 0.1) for b in odds}
    explored = [d for d in decisions if d.reason == "explored: drawn among 3"]
    assert 140 < len(explored) < 220  # 180 expected, 3.5 standard deviations
    assert {d.chosen for d in explored} == {"gpt-4", "local", "o3-mini"}
    assert all(d.plan[0].backend == d.chosen for d in explored)


def test_exploring_never_breaks_a_limit():
    dear = learned_from((20, observation(backend="gpt-4", completion=500)))
    words = EXPLORED + ", require: {cost: {max: $0.004}}"
    chosen = {decision_of(words, World(dear), seed=seed).chosen for seed in range(200)}
    assert chosen == {"local", "o3-mini"}


def test_a_draw_is_the_seeds_alone():
    assert decision_of(EXPLORED, seed=5) == decision_of(EXPLORED, seed=5)


NAMES = list(BACKENDS)
SEEN = st.lists(
    st.tuples(
        st.integers(min_value=1, max_value=30),
        st.builds(
            observation,
            backend=st.sampled_from(NAMES),
            prompt=st.integers(0, 5000),
            completion=st.integers(0, 5000),
            total_s=st.floats(0.01, 60),
        ),
    ),
    max_size=6,
)
LIMITS = st.sampled_from(
    [
        "",
        ", require: {latency: {p90: 1s}}",
        ", require: {cost: {max: $0.01}}",
        ", require: {latency: {p99: 300ms, of: first_token}, cost: {max: $0.001}}",
        ", require: {error: {max: 5%, reference: o3-mini}}",
    ]
)


@given(
    candidates=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True),
    limits=LIMITS,
    prefer=st.sampled_from(["cheapest", "fastest", "surest"]),
    if_none=st.sampled_from(["surest", "cheapest", "fastest", "reject"]),
    seen=SEEN,
    out=st.sets(st.sampled_from(NAMES)),
    certified=st.booleans(),
)
def test_what_holds_of_every_decision(candidates, limits, prefer, if_none, seen, out, certified):
    world = World(
        learned_from(*seen),
        unavailable=dict.fromkeys(out, "test"),
        certified=frozenset({"r"} if certified else ()),
    )
    words = f"candidates: {candidates}{limits}, prefer: {prefer}, if_none: {if_none}"
    decision = decision_of(words.replace("'", ""), world)
    by_name = {candidate.backend: candidate for candidate in decision.candidates}
    assert sum(candidate.propensity for candidate in decision.candidates) == (
        0 if decision.chosen is None else 1
    )
    for candidate in decision.candidates:
        assert candidate.reason
        assert candidate.cost_usd is None or candidate.cost_usd >= 0
        assert candidate.latency_p_within is None or 0 <= candidate.latency_p_within <= 1
        if candidate.latency_p50_s is not None:
            assert candidate.latency_p50_s <= candidate.latency_p95_s
    eligible = [c for c in decision.candidates if c.eligible]
    if decision.chosen is None:
        assert if_none == "reject"
        assert not eligible
        assert decision.plan == ()
        return
    chosen = by_name[decision.chosen]
    assert decision.plan[0].backend == decision.chosen
    if eligible:
        assert chosen.eligible
        if prefer == "cheapest" and all(c.cost_usd is not None for c in eligible):
            assert chosen.cost_usd == min(c.cost_usd for c in eligible)
    if decision.chosen in out and not ("error" in limits and not certified):
        assert out.issuperset(candidates)


def test_what_is_out_of_order_elsewhere_leaves_a_routes_choices_kept():
    match = route_of("candidates: [local, gpt-4]")
    policy = policy_of("routes: {default: {candidates: [gpt-4]}}")
    learned = learned_from()

    def choose(**unavailable):
        world = World(learned, unavailable=unavailable)
        return decide(policy, match, features_of(chat()), world, decision_id="d", seed=1)

    first = choose()
    assert choose(**{"o3-mini": "breaker open"}).candidates is first.candidates
    assert choose(local="breaker open").chosen == "gpt-4"
    assert choose().candidates is first.candidates
