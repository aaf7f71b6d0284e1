"""When a second attempt is due, and who gets it."""

import pytest
from msgspec.structs import replace

from policies.choice import World
from policies.decide import decide
from policies.hedging import cost_usd, wait_s, whom
from tests.support.policy_cases import chat, features_of, learned_from, observation, policy_of

HEDGE = "hedge: {after: p90, max_extra_cost: 5%}"
TIMES = [
    (1, observation("gpt-4", total_s=tenths / 10, first_token_s=tenths / 100, completion=50))
    for tenths in range(1, 101)
]


def match_of(words):
    policy = policy_of(f"routes:\n  r: {{{words}}}\n  default: {{candidates: [gpt-4]}}")
    return policy, policy.route_for("r", {})


def features(**words):
    return features_of(chat(**words), labels={"task": "t"})


def wait(words, *seen, **asked):
    _, match = match_of(words)
    return wait_s(match, "gpt-4", features(**asked), learned_from(*seen))


def test_after_the_quantile_of_what_was_learned():
    assert wait(f"candidates: gpt-4, {HEDGE}", *TIMES) == pytest.approx(9.0, rel=0.06)


def test_of_a_stream_the_first_token_counts():
    words = f"candidates: gpt-4, {HEDGE}"
    assert wait(words, *TIMES, stream=True) == pytest.approx(0.9, rel=0.06)
    assert wait(f"{words}, hold: all", *TIMES, stream=True) == pytest.approx(9.0, rel=0.06)


def test_what_is_not_known_has_no_quantile():
    assert wait(f"candidates: gpt-4, {HEDGE}", *TIMES[:19]) is None


def test_what_the_operator_expects_is_no_quantile():
    _, match = match_of(f"candidates: local, {HEDGE}")  # it has an `expect:`
    assert wait_s(match, "local", features(), learned_from()) is None


def test_a_duration_needs_no_samples():
    assert wait("candidates: gpt-4, hedge: {after: 2s, max_extra_cost: 5%}") == 2.0


def test_a_route_without_the_word_never_does():
    assert wait("candidates: gpt-4", *TIMES) is None


def second(words, *, unavailable=None, unaffordable=(), time_left_s=30.0, seen=()):
    policy, match = match_of(f"{words}, {HEDGE}")
    world = World(learned_from(*seen))
    decision = decide(policy, match, features(), world, decision_id="d", seed=1)
    world = replace(world, unavailable=dict.fromkeys(unavailable or (), "breaker open"))
    found = whom(
        match, decision, features(), world, unaffordable=unaffordable, time_left_s=time_left_s
    )
    return decision.chosen, None if found is None else found.backend


THREE = "candidates: [gpt-4, local, o3-mini], prefer: cheapest"


def test_the_next_by_preference_gets_it():
    dearest_first = (TIMES[0], (30, observation("local", total_s=1000.0)))
    chosen, other = second(THREE, seen=dearest_first)
    assert (chosen, other) == ("o3-mini", "gpt-4")


def test_who_is_out_of_order_is_passed_over():
    chosen, other = second(THREE)
    assert (chosen, other) == ("local", "o3-mini")
    assert second(THREE, unavailable=["o3-mini"]) == ("local", "gpt-4")
    assert second(THREE, unaffordable=["o3-mini"]) == ("local", "gpt-4")


def test_where_nobody_else_is_eligible_the_same_one_gets_it():
    assert second("candidates: local") == ("local", "local")
    assert second(THREE, unavailable=["o3-mini", "gpt-4"]) == ("local", "local")
    limited = "candidates: [local, gpt-4], require: {cost: {max: $0.00000001}}, if_none: cheapest"
    assert second(limited, seen=[*TIMES, (30, observation("local", total_s=1.0))])[0] == "local"


def test_a_candidate_that_misses_the_limits_is_not_the_next():
    slow = "candidates: [local, gpt-4], require: {latency: {p90: 2s}}"
    seen = [*TIMES, (30, observation("local", total_s=0.5))]
    assert second(slow, seen=seen) == ("local", "local")


def test_who_answers_on_failure_only_is_no_candidate():
    assert second("candidates: local, on_failure: [gpt-4]") == ("local", "local")


def test_while_nothing_is_certified_only_the_reference_answers():
    words = "candidates: [local, gpt-4], require: {error: {max: 9%, confidence: 95%, reference: o3-mini}}"  # noqa: E501
    assert second(words) == ("o3-mini", "o3-mini")


def test_a_backend_that_is_out_of_order_gets_no_second_attempt():
    assert second("candidates: local", unavailable=["local"]) == ("local", None)


def test_no_time_for_it():
    seen = (30, observation("gpt-4", total_s=2.0))
    assert second("candidates: gpt-4", seen=[seen], time_left_s=1.9) == ("gpt-4", None)
    assert second("candidates: gpt-4", time_left_s=0.0) == ("gpt-4", None)


def test_drawing_lots_is_for_the_first_attempt_only():
    assert second(f"{THREE}, explore: {{share: 100%}}")[1] in {"local", "o3-mini"}


def test_what_the_first_is_expected_to_cost():
    policy, match = match_of(f"candidates: [local, gpt-4], {HEDGE}")
    decision = decide(policy, match, features(), World(learned_from()), decision_id="d", seed=1)
    assert cost_usd(decision) == decision.candidates[0].cost_usd is not None
