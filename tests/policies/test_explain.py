import json

from policies.choice import World
from policies.decide import decide
from policies.explain import decision_json
from tests.support.policy_cases import features_of, learned_from, observation, policy_of


def decision_of(words, *seen):
    policy = policy_of(f"routes:\n  r: {{{words}}}\n  default: {{candidates: [gpt-4]}}")
    world = World(learned_from(*seen))
    features = features_of(labels={"task": "t"})
    return decide(policy, policy.route_for("r", {}), features, world, decision_id="d-1", seed=1)


def test_has_exactly_the_shape_that_is_fixed():
    decision = decision_of("candidates: [local, gpt-4], on_failure: gpt-4")
    data = decision_json(decision)
    assert list(data) == [
        "decision_id", "route", "policy", "chosen", "reason", "candidates", "plan",
    ]  # fmt: skip
    assert list(data["candidates"][0]) == [
        "backend", "eligible", "cost_usd", "latency_ms", "latency_p_within", "p_acceptable",
        "propensity", "prior", "reason",
    ]  # fmt: skip
    assert list(data["candidates"][0]["latency_ms"]) == ["p50", "p95"]
    assert data["plan"] == [
        {"step": "ask", "backend": "local", "condition": "first"},
        {
            "step": "fallback",
            "backend": "gpt-4",
            "condition": "error or timeout before the first byte",
        },
    ]
    assert json.loads(json.dumps(data)) == data


def test_unknown_is_null():
    candidate = decision_json(decision_of("candidates: gpt-4"))["candidates"][0]
    assert candidate["cost_usd"] is None
    assert candidate["latency_ms"] == {"p50": None, "p95": None}
    assert candidate["latency_p_within"] is None
    assert candidate["p_acceptable"] is None


def test_figures_are_in_milliseconds_and_rounded():
    seen = (20, observation(total_s=0.5, completion=8, prompt=100))
    candidate = decision_json(decision_of("candidates: local", seen))["candidates"][0]
    assert 475 < candidate["latency_ms"]["p50"] < 525
    assert candidate["latency_ms"]["p50"] == round(candidate["latency_ms"]["p50"], 3)
    assert candidate["cost_usd"] == 0.00025


def test_refusal_chooses_nobody():
    words = "candidates: local, require: {latency: {p90: 10ms}}, if_none: reject"
    data = decision_json(decision_of(words))
    assert data["chosen"] is None
    assert data["plan"] == []
