"""What would have changed a choice: always checked by deciding again with that change."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.choice import World
from policies.counterfactual import Question, change_json, changes
from policies.decide import decide
from tests.support.policy_cases import (
    BACKENDS,
    features_of,
    learned_from,
    observation,
    policy_of,
)

SEEN = (
    (50, observation("local", total_s=0.15, completion=8, prompt=100)),
    (50, observation("gpt-4", total_s=1.0, completion=8, prompt=100)),
    (50, observation("o3-mini", total_s=5.0, completion=1008, prompt=100)),
)


def question(words, *, seen=SEEN, acceptable=None, **world):
    policy = policy_of(f"routes:\n  r: {{{words}}}\n  default: {{candidates: [gpt-4]}}")
    return Question(
        policy,
        policy.route_for("r", {}),
        features_of(labels={"task": "t"}),
        World(learned_from(*seen), **world),
        acceptable or {},
    )


def by_backend(words, **more):
    return {one.chosen: one for one in changes(question(words, **more))}


def chosen(words, **more):
    asked = question(words, **more)
    return decide(
        asked.policy,
        asked.match,
        asked.features,
        asked.world,
        decision_id="d",
        seed=1,
        acceptable=asked.acceptable,
    ).chosen


MACHINES = (
    (50, observation("local", total_s=0.15)),
    (50, observation("local-v2", total_s=0.3)),
)


def chosen_cost(name):
    asked = question(f"candidates: {name}")
    decision = decide(
        asked.policy, asked.match, asked.features, asked.world, decision_id="d", seed=1
    )
    return decision.candidates[0].cost_usd


ALL = "candidates: [local, gpt-4, o3-mini]"


def test_a_longer_budget_lets_another_in():
    words = f"{ALL}, require: {{latency: {{p90: 2s}}}}, prefer: surest, escalate: {{to: [o3-mini]}}"
    found = by_backend(words)["o3-mini"]
    assert (found.what, found.now) == ("require.latency", 2.0)
    assert 4.9 < found.then < 5.2
    assert found.words == f"require.latency p90: {found.then:.3g} s instead of 2 s"
    assert chosen(words.replace("2s", f"{found.then}s")) == "o3-mini"
    assert chosen(words.replace("2s", f"{found.then - 0.1}s")) != "o3-mini"


def test_a_tighter_budget_leaves_one_out():
    words = f"{ALL}, require: {{latency: {{p90: 2s}}}}, prefer: surest"  # the dearest answers
    assert chosen(words) == "gpt-4"
    found = by_backend(words)["local"]
    assert (found.what, found.then < 1.01) == ("require.latency", True)
    assert chosen(words.replace("2s", f"{found.then}s")) == "local"


def test_a_higher_limit_of_cost_lets_another_in():
    words = "candidates: [local, gpt-4], require: {cost: {max: $0.0005}}, prefer: surest"
    found = by_backend(words)["gpt-4"]
    assert (found.what, found.now) == ("require.cost", 0.0005)
    assert found.words.startswith("require.cost max: $0.00")
    assert chosen(words.replace("$0.0005", f"${found.then:.9f}")) == "gpt-4"
    assert chosen(words.replace("$0.0005", f"${found.then * 0.98:.9f}")) == "local"


def test_a_price_is_told_as_it_is_written():
    found = by_backend("candidates: [gpt-4, o3-mini]")["o3-mini"]
    assert (found.what, found.of, found.now) == ("price", "o3-mini", 4.4)
    cheaper = chosen_cost("gpt-4") / chosen_cost("o3-mini")
    assert found.then == pytest.approx(4.4 * cheaper, rel=0.01)
    assert found.words == (
        f"price of o3-mini: ${found.then} instead of $4.4 per million output tokens, input alike"
    )


def test_a_machine_is_priced_by_the_hour():
    found = by_backend("candidates: [local, local-v2]", seen=MACHINES)["local-v2"]
    assert (found.what, found.of, found.now) == ("price", "local-v2", 1.8)
    assert found.words.endswith("instead of $1.8 per hour")


def test_a_time_is_told_at_the_quantile_that_is_asked_for():
    found = by_backend(
        "candidates: [gpt-4, local], prefer: fastest, require: {latency: {p90: 9s}}"
    )["gpt-4"]
    assert (found.what, found.of) in (("latency", "gpt-4"), ("latency", "local"))
    assert "(p90)" in found.words
    assert " ms instead of " in found.words


def test_a_share_of_right_answers_decides_where_it_is_weighed():
    words = "candidates: [local, gpt-4], prefer: surest"
    acceptable = {"local": 0.9, "gpt-4": 0.93}
    found = by_backend(words, acceptable=acceptable)["local"]
    assert (found.what, found.of) in (("p_acceptable", "local"), ("p_acceptable", "gpt-4"))
    assert abs(found.then - found.now) < 0.032
    assert chosen(words, acceptable={**acceptable, found.of: found.then}) == "local"


def test_weights_are_dollars():
    words = "candidates: [local, gpt-4], prefer: weighted, weights: {error: $0.05}"
    found = by_backend(words, acceptable={"local": 0.9, "gpt-4": 0.95})["local"]
    assert found.what in ("weights.error", "price", "p_acceptable")
    assert "instead of" in found.words


def test_who_is_out_of_order_would_be_taken_were_it_not():
    found = by_backend("candidates: [local, gpt-4]", unavailable={"local": "breaker open"})["local"]
    assert (found.what, found.of, found.now, found.then) == ("available", "local", None, None)
    assert found.words == "local available instead of out of order (breaker open)"


def test_what_a_certified_lock_would_change():
    words = "candidates: [local, gpt-4], require: {error: {max: 9%, reference: gpt-4}}"
    found = by_backend(words, void={"r": "40 labels are too few"})["local"]
    assert found.what == "certified"
    assert found.words == "require.error certified instead of not (40 labels are too few)"
    assert by_backend(words)["local"].words == "require.error certified instead of not"
    assert chosen(words, certified=frozenset({"r"})) == "local"


def test_a_refusal_has_something_that_would_have_helped():
    words = "candidates: gpt-4, require: {latency: {p90: 200ms}}, if_none: reject"
    assert chosen(words) is None
    found = by_backend(words)["gpt-4"]
    assert found.what in ("require.latency", "latency")


def test_an_only_candidate_cannot_be_changed():
    assert changes(question("candidates: gpt-4")) == []


def test_unknown_is_moved_by_nothing_but_its_price():
    found = changes(question("candidates: [gpt-4, o3-mini]", seen=()))
    assert {one.what for one in found} <= {"price"}


def test_exploration_is_no_reason():
    words = "candidates: [local, gpt-4], explore: {share: 100%}"
    assert by_backend(words).keys() == by_backend(words.partition(", explore")[0]).keys()


def test_the_nearest_comes_first_and_each_backend_once():
    found = changes(question(f"{ALL}, require: {{latency: {{p90: 200ms}}, cost: {{max: $0.004}}}}"))
    names = [one.chosen for one in found]
    assert len(names) == len(set(names))
    assert "local" not in names


def test_what_was_learned_is_left_as_it_was():
    asked = question(ALL)
    before = asked.world.learned.digest()
    changes(asked)
    assert asked.world.learned.digest() == before
    assert not asked.world.learned.choices


def test_as_json():
    found = changes(question("candidates: [gpt-4, o3-mini]"))[0]
    assert list(change_json(found)) == ["chosen", "what", "of", "now", "then", "words"]


@settings(max_examples=15)
@given(
    st.permutations(sorted(set(BACKENDS) - {"local-v2"})),
    st.integers(50, 6000),
    st.floats(0.0001, 0.02),
    st.sampled_from(["cheapest", "fastest", "surest"]),
)
def test_every_limit_told_really_flips_the_choice(names, budget_ms, max_usd, prefer):
    words = (
        f"candidates: [{', '.join(names)}], prefer: {prefer}, "
        "require: {latency: {p90: BUDGET}, cost: {max: LIMIT}}"
    )

    def with_limits(budget_s, usd):
        return words.replace("BUDGET", f"{budget_s}s").replace("LIMIT", f"${usd:.12f}")

    budget_s = budget_ms / 1000
    for change in changes(question(with_limits(budget_s, max_usd))):
        if change.what == "require.latency":
            assert chosen(with_limits(change.then, max_usd)) == change.chosen
        elif change.what == "require.cost":
            assert chosen(with_limits(budget_s, change.then)) == change.chosen
