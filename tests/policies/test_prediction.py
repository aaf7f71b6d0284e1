import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.tokens import Price, Usage
from policies.facts import BackendFacts, Expect
from policies.inquiry import SAMPLES_MIN, Cells, Inquiry, LatencyQuestion, size_bucket
from policies.prediction import predict
from tests.support.policy_cases import BACKENDS, learned_from, observation

QUESTION = LatencyQuestion("total", 0.9, 1.0)


def prediction_of(facts, *seen, output_max=None):
    cells = learned_from(*seen).cells(facts.name, "t", size_bucket(400)) if seen else Cells()
    return predict(facts, Inquiry(QUESTION, "t", size_bucket(400), output_max), cells)


def test_nothing_is_known_of_a_fresh_backend_but_its_list_price():
    found = prediction_of(BACKENDS["gpt-4"])
    assert not found.cost.is_known
    assert not found.prior
    assert found.cost.fixed_usd == pytest.approx(256 * 60 / 1e6)
    assert found.latency.p50_s is None
    assert found.reason == "unknown cost and latency: 0 of 20 samples, no expect"


def test_expectation_stands_in_and_is_marked():
    facts = BackendFacts("b", Price(input=1, output=2), Expect(0.1, 100, completion_tokens=51))
    found = prediction_of(facts)
    assert found.prior
    assert found.cost.is_known
    assert found.cost.fixed_usd == pytest.approx(51 * 2 / 1e6)
    assert found.cost.spare_usd == 0
    assert found.reason == "prior: expect stands in, 0 of 20 samples"


def test_assumed_tokens_are_spared_by_the_limit():
    found = prediction_of(BackendFacts("b", Price(input=1, output=2), Expect(0.1, 100)))
    assert found.cost.fixed_usd - found.cost.spare_usd == pytest.approx(8 * 2 / 1e6)
    assert found.reason == "prior: expect stands in, 0 of 20 samples, 256 tokens assumed"


def test_reasoning_tokens_make_the_cheaper_price_the_dearer_answer():
    gpt4 = prediction_of(
        BACKENDS["gpt-4"], (20, observation("gpt-4", prompt=100, completion=20, total_s=1.0))
    )
    thinking = observation("o3-mini", prompt=100, completion=1500, reasoning=1480, total_s=5.0)
    o3 = prediction_of(BACKENDS["o3-mini"], (20, thinking))
    assert o3.cost.fixed_usd > gpt4.cost.fixed_usd
    assert o3.cost.is_known
    assert not o3.prior
    assert o3.reason == "measured: 20 samples"


def test_machine_costs_the_seconds_it_is_busy():
    expected = prediction_of(BACKENDS["local"], output_max=10)
    assert expected.cost.is_machine
    assert expected.cost.is_prior
    assert expected.cost.fixed_usd == pytest.approx(1.8 / 3600 * (0.04 + 9 / 90))
    measured = prediction_of(BACKENDS["local"], (20, observation(total_s=2.0, completion=5)))
    assert measured.cost.fixed_usd == pytest.approx(1.8 / 3600 * 2)
    assert not measured.cost.is_prior


def test_machine_of_which_nothing_is_known_has_no_cost():
    found = prediction_of(BACKENDS["local-v2"])
    assert found.cost.fixed_usd is None
    assert not found.cost.is_known


@pytest.mark.parametrize("price", [None, Price(input=1), Price(output=1), Price()])
def test_cost_without_a_price_is_unknown_not_free(price):
    found = prediction_of(BackendFacts("b", price, Expect(0.1, 100, 8)))
    assert found.cost.fixed_usd is None
    assert not found.cost.is_known
    assert found.reason.startswith("unknown cost")


def test_empty_expectation_is_none_at_all():
    found = prediction_of(BackendFacts("b", Price(input=1, output=2), Expect()))
    assert not found.cost.is_known
    assert found.reason.endswith("no expect")


TOKENS = st.integers(min_value=0, max_value=100_000)
USD = st.floats(min_value=0, max_value=1000)


@given(prompt=TOKENS, completion=TOKENS, cached=st.floats(0, 1), input=USD, cheap=USD, output=USD)
def test_expected_cost_is_the_settled_cost_of_the_answers_seen(
    prompt, completion, cached, input, cheap, output
):
    """What is expected after equal answers is what the price says one of them cost."""
    price = Price(input=input, output=output, cached_input=cheap)
    usage = Usage(prompt=prompt, completion=completion, cached=int(prompt * cached))
    seen = observation("b", prompt=prompt, completion=completion, cached=usage.cached)
    cost = prediction_of(BackendFacts("b", price), (SAMPLES_MIN, seen)).cost
    expected_usd = cost.fixed_usd + cost.per_byte_usd * seen.prompt_bytes
    assert expected_usd == pytest.approx(price.cost_usd(usage), rel=1e-6, abs=1e-12)


@given(
    totals=st.lists(st.floats(1e-3, 100), min_size=SAMPLES_MIN, max_size=40),
    budgets=st.tuples(st.floats(1e-3, 100), st.floats(1e-3, 100)),
)
def test_probability_within_is_one_and_grows_with_the_budget(totals, budgets):
    cells = learned_from(*[(1, observation(total_s=total)) for total in totals]).cells(
        "local", "t", 5
    )
    shares = [
        predict(
            BACKENDS["local"], Inquiry(LatencyQuestion("total", 0.9, budget), "t", 5, None), cells
        ).latency.p_within
        for budget in sorted(budgets)
    ]
    assert 0 <= shares[0] <= shares[1] <= 1
