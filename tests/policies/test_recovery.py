"""A backend that was late and is left alone: tried now and then, and back once it is well."""

from typing import Any

import pytest

from policies.choice import World
from policies.decide import decide
from policies.decision import Decision
from policies.learned import Learned
from policies.recovery import SHARE, SILENCE_S
from tests.support.policy_cases import features_of, observation, policy_of

LIMIT = "require: {latency: {p90: 200ms}}"
TRIES = 1500
"""The draw is that of the seed: always the same."""


def after_outage(silence_s: float) -> Learned:
    """local was quick, then hung for two minutes; gpt-4 has served for `silence_s` since."""
    learned = Learned()
    for second in range(300):
        learned.observe(observation("local", total_s=0.05, completion=9), float(second))
    for second in range(300, 420):
        learned.observe(observation("local", total_s=30.0, completion=9), float(second))
    for second in range(40):
        moment_s = 420 + silence_s * (second + 1) / 40
        learned.observe(observation("gpt-4", total_s=0.15, completion=9), moment_s)
    return learned


def choose(learned: Learned, seed: int, words: str = LIMIT, **world: Any) -> Decision:
    policy = policy_of(
        f"routes: {{r: {{candidates: [local, gpt-4], {words}}}, default: {{candidates: [gpt-4]}}}}"
    )
    return _choose(policy, learned, seed, world)


def _choose(policy: Any, learned: Learned, seed: int, world: dict[str, Any]) -> Decision:
    match = policy.route_for("r", {})
    made = World(learned, **world)
    features = features_of(labels={"task": "t"})
    return decide(policy, match, features, made, decision_id="d", seed=seed)


def tries(learned: Learned, words: str = LIMIT, **world: Any) -> list[Decision]:
    policy = policy_of(
        f"routes: {{r: {{candidates: [local, gpt-4], {words}}}, default: {{candidates: [gpt-4]}}}}"
    )
    made = (_choose(policy, learned, seed, world) for seed in range(TRIES))
    return [one for one in made if one.chosen == "local"]


def test_who_was_late_a_moment_ago_is_not_asked() -> None:
    assert tries(after_outage(SILENCE_S / 2)) == []


def test_after_a_silence_one_of_64_requests_tries_again() -> None:
    found = tries(after_outage(2 * SILENCE_S))
    assert 10 < len(found) < 45
    assert found[0].reason == "tried again: local was late, but nothing was heard of it since"
    odds = {one.backend: one.propensity for one in found[0].candidates}
    assert odds == {"local": SHARE, "gpt-4": 1 - SHARE}
    assert found[0].plan[0].backend == "local"


def test_odds_are_those_of_the_draw_whoever_is_drawn() -> None:
    learned = after_outage(2 * SILENCE_S)
    for seed in range(50):
        made = choose(learned, seed, f"{LIMIT}, explore: {{share: 50%}}")
        assert sum(one.propensity for one in made.candidates) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "world"),
    [
        (LIMIT, {"unavailable": {"local": "breaker open"}}),
        ("require: {latency: {p90: 200ms}, error: {max: 9%, reference: gpt-4}}", {}),
        ("require: {cost: {max: $1}}, prefer: fastest", {}),
        ("require: {latency: {p90: 200ms}, cost: {max: $0.004}}", {}),
    ],
)
def test_no_trial_where_none_is_allowed_or_nothing_is_asked(
    words: str, world: dict[str, Any]
) -> None:
    assert tries(after_outage(2 * SILENCE_S), words, **world) == []


def is_back(learned: Learned) -> bool:
    return choose(learned, 0).candidates[0].eligible


def test_a_few_good_trials_bring_it_back() -> None:
    learned = after_outage(2 * SILENCE_S)
    moment_s = 420 + 2 * SILENCE_S
    trials = 0
    while not is_back(learned):
        learned.observe(observation("local", total_s=0.05, completion=9), moment_s)
        moment_s += SILENCE_S + 5
        trials += 1
        assert trials <= 4
    assert trials >= 2


def test_bad_trials_leave_it_where_it_is() -> None:
    learned = after_outage(2 * SILENCE_S)
    for minute in range(2, 6):
        learned.observe(observation("local", total_s=30.0, completion=9), 420 + minute * 65.0)
    assert not is_back(learned)
