import pytest

from policies.cell import Cell
from policies.inquiry import (
    SAMPLES_MIN,
    Cells,
    LatencyQuestion,
    measured_mean,
    measured_sketch,
    size_bucket,
)


def cell_with(samples, value):
    cell = Cell()
    for _ in range(samples):
        cell.output.add(value, 1.0)
        cell.total_s.add(value, 1.0)
    return cell


def test_mean_is_of_the_narrowest_cell_with_enough_samples():
    enough, few = cell_with(SAMPLES_MIN, 5.0), cell_with(SAMPLES_MIN - 1, 9.0)

    def mean(**cells):
        return measured_mean(Cells(**cells), lambda cell: cell.output)

    assert mean(task=enough, backend=cell_with(50, 1.0)) == 5
    assert mean(task=few, backend=enough) == 5
    assert mean(task=few, size=enough, backend=few) is None
    assert mean() is None


def test_sketch_is_the_first_with_enough_samples():
    enough, few = cell_with(SAMPLES_MIN, 5.0).total_s, cell_with(SAMPLES_MIN - 1, 9.0).total_s
    assert measured_sketch([few, enough]) is enough
    assert measured_sketch([few]) is None


@pytest.mark.parametrize(
    ("low", "high", "same"),
    [(0, 511, True), (512, 2047, True), (2047, 2048, False), (10**6, 10**9, True)],
)
def test_sizes_go_by_powers_of_four(low, high, same):
    assert (size_bucket(low) == size_bucket(high)) is same


def test_questions_of_two_routes_differ_though_they_ask_the_same():
    assert LatencyQuestion("total", 0.9, 1.0) != LatencyQuestion("total", 0.9, 1.0)
