"""What an answer costs: priced by class, unknown stays unknown, reasoning is paid as output."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.tokens import Price, Usage

GPT_4 = Price(input=30.0, output=60.0)
O3_MINI = Price(input=1.10, cached_input=0.55, output=4.40)


def test_input_and_output_are_priced_per_million() -> None:
    assert GPT_4.cost_usd(Usage(prompt=1_000, completion=100)) == pytest.approx(0.036)


def test_cached_tokens_are_taken_out_of_the_prompt_and_cost_less() -> None:
    cost = O3_MINI.cost_usd(Usage(prompt=1_000, cached=800, completion=0))
    assert cost == pytest.approx((200 * 1.10 + 800 * 0.55) / 1e6)


def test_cached_tokens_without_a_price_of_their_own_cost_as_input() -> None:
    assert GPT_4.cost_usd(Usage(prompt=1_000, cached=800, completion=0)) == pytest.approx(0.030)


def test_cache_writes_have_a_price_of_their_own() -> None:
    price = Price(input=1.0, output=2.0, cache_write=1.25)
    cost = price.cost_usd(Usage(prompt=100, cache_write=40, completion=10))
    assert cost == pytest.approx((60 * 1.0 + 40 * 1.25 + 10 * 2.0) / 1e6)


def test_reasoning_tokens_are_inside_the_completion_and_not_paid_twice() -> None:
    plain = O3_MINI.cost_usd(Usage(prompt=10, completion=1_000))
    assert O3_MINI.cost_usd(Usage(prompt=10, completion=1_000, reasoning=900)) == plain


def test_a_lower_list_price_can_cost_more_when_it_thinks_in_tokens() -> None:
    direct = GPT_4.cost_usd(Usage(prompt=50, completion=20))
    thinking = O3_MINI.cost_usd(Usage(prompt=50, completion=1_500, reasoning=1_480))
    assert direct is not None
    assert thinking is not None
    assert thinking > direct


@pytest.mark.parametrize(
    ("price", "usage"),
    [
        (GPT_4, Usage()),
        (GPT_4, Usage(prompt=10)),
        (GPT_4, Usage(completion=10)),
        (Price(), Usage(prompt=1, completion=1)),
        (Price(input=1.0), Usage(prompt=1, completion=1)),
        (Price(output=1.0), Usage(prompt=1, completion=1)),
        (Price(per_hour=1.8), Usage(prompt=1, completion=1)),
    ],
)
def test_what_is_unknown_makes_the_cost_unknown_not_zero(price: Price, usage: Usage) -> None:
    assert price.cost_usd(usage) is None


def test_a_free_answer_costs_zero_which_is_known() -> None:
    assert GPT_4.cost_usd(Usage(prompt=0, completion=0)) == 0.0


def test_a_machine_by_the_hour_is_shared_by_those_it_served_at_once() -> None:
    machine = Price(per_hour=3.6)
    assert machine.cost_usd(Usage(), busy_s=2.0) == pytest.approx(0.002)
    assert machine.cost_usd(Usage(), busy_s=2.0, served_at_once=4) == pytest.approx(0.0005)
    assert machine.cost_usd(Usage(), busy_s=2.0, served_at_once=0) == pytest.approx(0.002)


COUNTS = st.integers(0, 2_000_000)
RATES = st.floats(0, 1_000)


@given(COUNTS, COUNTS, COUNTS, COUNTS, RATES, RATES, RATES, RATES)
def test_cost_is_never_negative_whatever_a_backend_reports(
    prompt: int, completion: int, cached: int, cache_write: int,
    input_: float, output: float, cached_input: float, cache_write_price: float,
) -> None:  # fmt: skip
    price = Price(
        input=input_, output=output, cached_input=cached_input, cache_write=cache_write_price
    )
    usage = Usage(prompt=prompt, completion=completion, cached=cached, cache_write=cache_write)
    cost = price.cost_usd(usage)
    assert cost is not None
    assert cost >= 0


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=10), RATES, RATES)
def test_the_sum_of_costs_is_the_cost_of_the_sum(
    answers: list[tuple[int, int]], input_: float, output: float
) -> None:
    price = Price(input=input_, output=output)
    single = [price.cost_usd(Usage(prompt=p, completion=c)) or 0.0 for p, c in answers]
    total = Usage(prompt=sum(p for p, _ in answers), completion=sum(c for _, c in answers))
    assert sum(single) == pytest.approx(price.cost_usd(total))


@given(COUNTS, st.integers(0, 1_000), RATES)
def test_one_more_output_token_never_makes_an_answer_cheaper(
    completion: int, more: int, output: float
) -> None:
    price = Price(input=1.0, output=output)
    less = price.cost_usd(Usage(prompt=1, completion=completion))
    extra = price.cost_usd(Usage(prompt=1, completion=completion + more))
    assert less is not None
    assert extra is not None
    assert extra >= less


def test_usage_is_positional_on_disk_and_reads_what_was_written_before_it_grew() -> None:
    usage = Usage(prompt=1, completion=2, reasoning=None, cached=4)
    assert msgspec.json.encode(usage) == b"[1,2,null,4,null]"
    assert msgspec.json.decode(b"[1,2]", type=Usage) == Usage(prompt=1, completion=2)
