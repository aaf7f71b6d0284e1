"""A conversation's prefix as a cost term: what it saves, and when it changes a choice."""

import pytest

from pointsman.tokens import Price
from policies.affinity import PREFIX_LIFE_S, PREFIX_TOKENS_MIN, Prefix, is_warm, saving_usd
from policies.choice import World
from policies.decide import decide
from policies.decision import Decision
from policies.facts import BackendFacts
from policies.learned import Learned
from policies.prediction import CostEstimate
from tests.support.policy_cases import chat, features_of, observation, policy_of

COST = CostEstimate(
    fixed_usd=0.0, tokens_per_byte=0.25, cached_share=0.0, cached_spare_usd=2e-6, is_known=True
)
BACKENDS = {
    facts.name: facts
    for facts in (
        BackendFacts("near", Price(input=2.0, cached_input=0.5, output=2.0)),
        BackendFacts("cheap", Price(input=1.9, cached_input=0.475, output=2.0)),
        BackendFacts("flat", Price(input=1.9, output=2.0)),
    )
}


@pytest.mark.parametrize(("tokens", "saved"), [(1000, 1000 * 2e-6), (5000, 2500 * 2e-6), (0, 0.0)])
def test_what_was_read_before_costs_less_up_to_the_whole_prompt(tokens: int, saved: float) -> None:
    assert saving_usd(COST, 10_000, Prefix("a", tokens, 0.0)) == pytest.approx(saved)


def test_what_is_cached_on_average_is_not_counted_twice() -> None:
    usual = CostEstimate(
        fixed_usd=0.0, tokens_per_byte=0.25, cached_share=0.4, cached_spare_usd=2e-6
    )
    assert saving_usd(usual, 10_000, Prefix("a", 1500, 0.0)) == pytest.approx(500 * 2e-6)
    assert saving_usd(usual, 10_000, Prefix("a", 900, 0.0)) == 0.0


def test_a_prefix_is_warm_for_five_minutes_and_from_a_length_on() -> None:
    prefix = Prefix("a", PREFIX_TOKENS_MIN, 10.0)
    assert is_warm(prefix, 10.0 + PREFIX_LIFE_S)
    assert not is_warm(prefix, 10.1 + PREFIX_LIFE_S)
    assert not is_warm(prefix._replace(tokens=PREFIX_TOKENS_MIN - 1), 10.0)


def choose(prefix: Prefix | None, candidates: str = "[near, cheap]") -> Decision:
    policy = policy_of(f"routes: {{default: {{candidates: {candidates}}}}}", BACKENDS)
    match = policy.route_for("default", {})
    assert match is not None
    learned = Learned()
    for name in BACKENDS:
        seen = observation(name, prompt=1000, prompt_bytes=4000, completion=10, total_s=1.0)
        for second in range(20):
            learned.observe(seen, float(second))
    said = [{"role": "user", "content": "a" * 8000}]
    features = features_of(chat(messages=said), labels={"task": "t"})
    return decide(policy, match, features, World(learned), decision_id="d", seed=0, prefix=prefix)


def test_who_has_read_the_conversation_is_cheaper_for_it() -> None:
    assert choose(None).chosen == "cheap"
    made = choose(Prefix("near", 1800, 0.0))
    assert made.chosen == "near"
    near, cheap = made.candidates
    assert near.reason == "measured: 20 samples, about 1800 tokens of the prompt cached there"
    assert "cached" not in cheap.reason
    plain = choose(None).candidates[0]
    assert near.cost_usd is not None
    assert plain.cost_usd is not None
    assert plain.cost_usd - near.cost_usd == pytest.approx(1800 * 1.5e-6)


def test_a_prefix_that_saves_little_keeps_nobody() -> None:
    assert choose(Prefix("near", 100, 0.0)).chosen == "cheap"
    assert choose(Prefix("gone", 1800, 0.0)).chosen == "cheap"


def test_a_choice_for_one_conversation_is_not_kept_for_others() -> None:
    policy = policy_of("routes: {default: {candidates: [near, cheap]}}", BACKENDS)
    match = policy.route_for("default", {})
    assert match is not None
    world = World(Learned())
    for prefix in (Prefix("near", 1800, 0.0), None):
        decide(policy, match, features_of(), world, decision_id="d", seed=0, prefix=prefix)
        assert len(world.learned.choices) == (0 if prefix else 1)


@pytest.mark.parametrize(
    ("candidates", "caches"),
    [("[near, cheap]", True), ("[flat, near]", True), ("[near]", False), ("[flat]", False)],
)
def test_it_is_asked_only_where_it_can_change_something(candidates: str, caches: bool) -> None:
    policy = policy_of(f"routes: {{default: {{candidates: {candidates}}}}}", BACKENDS)
    assert policy.caching_routes == (frozenset({"default"}) if caches else frozenset())
