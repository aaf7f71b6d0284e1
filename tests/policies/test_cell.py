import pytest

from policies.cell import HALF_LIFE_S, Cell, sample_of
from policies.sketch import WEIGHT_MAX
from tests.support.policy_cases import observation


def cell_of(*observations, every_s=1.0):
    cell = Cell()
    for index, observed in enumerate(observations):
        cell.observe(sample_of(observed), index * every_s)
    return cell


def test_counts_tokens_of_a_whole_answer():
    cell = cell_of(observation(prompt=100, completion=50, reasoning=40, cached=25))
    assert cell.output.value == 50
    assert cell.reasoning.value == 40
    assert cell.tokens_per_byte.value == 0.25
    assert cell.cached.value == 0.25
    assert cell.visible.quantile(0.5) == pytest.approx(10, rel=0.05)


def test_gap_leaves_out_the_first_tokens_wait():
    cell = cell_of(observation(completion=11, first_token_s=5.0, total_s=6.0))
    assert cell.gap_s.quantile(0.5) == pytest.approx(0.1, rel=0.05)
    assert cell.first_token_s.quantile(0.5) == pytest.approx(5, rel=0.05)
    assert cell.total_s.quantile(0.5) == pytest.approx(6, rel=0.05)


def test_gap_is_of_visible_tokens_for_thinking_comes_before_the_first():
    cell = cell_of(observation(completion=1011, reasoning=1000, first_token_s=5.0, total_s=6.0))
    assert cell.gap_s.quantile(0.5) == pytest.approx(0.1, rel=0.05)


def test_answer_at_once_tells_only_its_whole_time():
    cell = cell_of(observation(completion=11, total_s=6.0))
    assert (cell.total_s.count, cell.first_token_s.count, cell.gap_s.count) == (1, 0, 0)


def test_one_token_has_no_gap():
    assert cell_of(observation(completion=1, first_token_s=1.0, total_s=1.0)).gap_s.count == 0


def test_unknown_counts_are_not_zero():
    cell = cell_of(observation(total_s=1.0))
    assert (cell.output.count, cell.tokens_per_byte.count, cell.cached.count) == (0, 0, 0)


def test_attempt_cut_short_tells_times_but_no_tokens():
    cell = cell_of(observation(completed=False, completion=3, first_token_s=0.1, total_s=9.0))
    assert (cell.output.count, cell.gap_s.count) == (0, 0)
    assert (cell.first_token_s.count, cell.total_s.count) == (1, 1)


def test_old_samples_count_less():
    slow, fast = observation(total_s=10.0), observation(total_s=1.0)
    cell = cell_of(*[slow] * 300, *[fast] * 300, every_s=HALF_LIFE_S)
    assert cell.total_s.quantile(0.5) < 2


def test_steady_load_for_a_year_keeps_its_figures():
    cell = cell_of(*[observation(total_s=2.0, completion=7)] * 9000, every_s=HALF_LIFE_S)
    assert cell.decay.weight <= WEIGHT_MAX
    assert cell.output.value == pytest.approx(7)
    assert cell.total.value == pytest.approx(2)
    assert cell.total_s.quantile(0.5) == pytest.approx(2, rel=0.05)
    assert cell.total_s.count == 9000


@pytest.mark.parametrize("figures", [{"prompt": 0, "cached": 0}, {"prompt": 5, "prompt_bytes": 0}])
def test_counts_of_nothing_divide_nothing(figures):
    cell = cell_of(observation(**figures))
    assert cell.cached.count == 0 or figures["prompt"]
