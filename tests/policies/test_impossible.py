"""Limits nobody can meet."""

import pytest

from pointsman.tokens import Price
from policies.choice import World
from policies.decide import decide
from policies.facts import BackendFacts, Expect
from policies.impossible import least_usd
from policies.learned import Learned
from tests.support.policy_cases import BACKENDS, errors_of, features_of, policy_of, warnings_of

SLOW = BackendFacts("slow", Price(input=1, output=1), Expect(first_token_s=2, tokens_per_second=10))
MANY = {**BACKENDS, "slow": SLOW, "free": BackendFacts("free")}


def text_of(words):
    return f"routes: {{r: {{{words}}}, default: {{candidates: gpt-4}}}}"


def test_a_cost_below_one_token_at_list_price_is_refused_where_it_stands():
    (error,) = errors_of(text_of("candidates: [gpt-4, o3-mini], require: {cost: {max: $0.000001}}"))
    assert error.partition(": ")[2] == (
        "cost: $0.000001 is less than one token in and one out cost at list price"
        " ($0.0000055 at the cheapest candidate); no request can ever meet it"
    )


@pytest.mark.parametrize(
    "candidates", ["gpt-4, local", "gpt-4, free"], ids=["by the hour", "of unknown price"]
)
def test_one_that_may_meet_it_makes_it_possible(candidates):
    assert not errors_of(
        text_of(f"candidates: [{candidates}], require: {{cost: {{max: $0.000001}}}}"), MANY
    )


def test_what_is_expected_to_miss_everywhere_is_said_with_its_figures():
    words = "candidates: slow, require: {latency: {p90: 200ms}}, if_none: reject"
    (warning,) = warnings_of(text_of(words), MANY)
    assert "no candidate is expected to meet it, so if_none: reject decides" in warning
    assert "slow: 0.0% within 200 ms, p90 asked" in warning
    assert " s expected" in warning


def test_limits_that_one_meets_and_another_meets_but_none_both():
    words = "candidates: [slow, dear], require: {latency: {p90: 200ms}, cost: {max: $0.001}}"
    quick = Expect(first_token_s=0.05, tokens_per_second=9000, completion_tokens=500)
    dear = BackendFacts("dear", Price(input=30, output=60), quick)
    (warning,) = warnings_of(text_of(words), {**MANY, "dear": dear})
    assert "slow: 0.0% within 200 ms" in warning
    assert "dear: $0.0" in warning
    assert "is above $0.001" in warning


@pytest.mark.parametrize(
    "words",
    [
        "candidates: [slow, gpt-4], require: {latency: {p90: 200ms}}",
        "candidates: slow, require: {latency: {p90: 60s}}",
        "candidates: slow",
        "candidates: slow, require: {error: {max: 9%, reference: slow}}",
    ],
    ids=["unknown may", "it is met", "nothing is required", "an error rate is for labels to say"],
)
def test_what_may_be_met_is_not_warned_about(words):
    assert not [one for one in warnings_of(text_of(words), MANY) if "expected to meet" in one]


def test_until_more_is_measured_if_none_really_decides_and_says_so():
    words = "candidates: slow, require: {latency: {p90: 200ms}}, if_none: reject"
    policy = policy_of(text_of(words), MANY)
    match = policy.route_for("r", {})
    decision = decide(policy, match, features_of(), World(Learned()), decision_id="d", seed=1)
    assert (decision.chosen, decision.reason) == (None, "none of 1 meets p90 200 ms: rejected")


def test_the_least_a_request_can_cost():
    assert least_usd(BACKENDS["gpt-4"]) == pytest.approx(90e-6)
    assert least_usd(BACKENDS["local"]) is None
    assert least_usd(MANY["free"]) is None
