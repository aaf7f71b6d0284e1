"""Promises: exact tails, the fixed sequence, what is refused, and that they are kept."""

import random
from math import comb, inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.promise import (
    binomial_tail,
    certify_counts,
    certify_weighted,
    error_bound,
    errors_allowed,
    labels_for,
    row_errors,
    thresholds_of,
)


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.001, 0.999))
def test_the_tail_is_the_sum_of_its_terms(errors: int, labels: int, limit: float) -> None:
    expected = sum(
        comb(labels, k) * limit**k * (1 - limit) ** (labels - k)
        for k in range(min(errors, labels) + 1)
    )
    assert binomial_tail(errors, labels, limit) == pytest.approx(min(1.0, expected), rel=1e-9)


def test_the_tail_stands_large_numbers() -> None:
    assert 0.49 < binomial_tail(90_000, 1_000_000, 0.09) < 0.51
    assert binomial_tail(80_000, 1_000_000, 0.09) < 1e-200


@pytest.mark.parametrize(("limit", "labels"), [(0.09, 32), (0.01, 299)])
def test_the_fewest_labels_of_a_promise_without_errors(limit: float, labels: int) -> None:
    assert labels_for(limit, 0.05) == labels
    assert errors_allowed(labels, limit, 0.05) == 0
    assert errors_allowed(labels - 1, limit, 0.05) == -1


def test_what_no_number_of_labels_proves_is_said() -> None:
    assert labels_for(0.05, 0.05, error=0.06) is None
    assert labels_for(0.0, 0.05) is None


def test_the_bound_is_where_the_tail_is_delta() -> None:
    assert binomial_tail(5, 100, error_bound(5, 100, 0.05)) == pytest.approx(0.05)
    assert error_bound(0, 0, 0.05) == error_bound(3, 3, 0.05) == 1.0


def test_the_sequence_stops_at_the_first_that_is_not_proved() -> None:
    found = certify_counts([5, 6, 7, 40, 5], 200, limit=0.09, delta=0.05)
    assert found.index == 2
    assert found.errors == 7
    assert found.bound < 0.09
    assert found.labels_needed is None


def test_too_few_labels_certify_nothing_and_say_how_many_are_needed() -> None:
    found = certify_counts([1, 2], 20, limit=0.09, delta=0.05)
    assert found.index is None
    assert (found.labels_needed or 0) > 100
    assert certify_counts([9], 20, limit=0.09, delta=0.05).labels_needed is None


def test_no_labels_certify_nothing() -> None:
    assert certify_counts([0], 0, limit=0.09, delta=0.05).index is None


def test_a_row_goes_from_all_to_none() -> None:
    scores = [0.1, 0.2, 0.3, nan]
    row = thresholds_of(scores, 5)
    assert (row[0], row[-1]) == (-inf, inf)
    assert list(row) == sorted(row)
    found = row_errors(scores, row, cheap_wrong=[0, 1, 1, 1], reference_wrong=[0, 0, 0, 0])
    assert found[0] == 0
    assert found[-1] == 2  # a request whose score is unknown stays with the reference


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 1), st.integers(0, 1)), max_size=40))
def test_errors_of_a_row_are_those_counted_one_by_one(rows: list[tuple[float, int, int]]) -> None:
    scores = [row[0] for row in rows]
    row = thresholds_of(scores, 7)
    found = row_errors(
        scores, row, cheap_wrong=[r[1] for r in rows], reference_wrong=[r[2] for r in rows]
    )
    assert found == [sum(c if s < t else r for s, c, r in rows) for t in row]


def population(seed: int) -> list[tuple[float, int, int]]:
    """Scores with the errors of a cheap and a reference backend."""
    chance = random.Random(seed)
    rows = []
    for _ in range(4000):
        hard = chance.random()
        rows.append((hard, int(chance.random() < 0.5 * hard), int(chance.random() < 0.05)))
    return rows


def test_a_promise_is_kept_at_its_confidence() -> None:
    rows = population(0)
    row = thresholds_of([score for score, _, _ in rows])
    truth = [error / len(rows) for error in errors_of(rows, row)]
    chance = random.Random(1)
    broken = certified = 0
    for _ in range(200):
        drawn = chance.choices(rows, k=400)
        found = certify_counts(errors_of(drawn, row), 400, limit=0.12, delta=0.05)
        if found.index is not None:
            certified += 1
            broken += truth[found.index] > 0.12
    assert certified > 150
    assert broken <= 21  # expected at most 10 of 200; more once in 1,000 runs


def errors_of(rows: list[tuple[float, int, int]], row: tuple[float, ...]) -> list[int]:
    return row_errors(
        [r[0] for r in rows], row,
        cheap_wrong=[r[1] for r in rows], reference_wrong=[r[2] for r in rows],
    )  # fmt: skip


def test_weighted_labels_are_bet_on() -> None:
    chance = random.Random(0)
    drawn = [(float(chance.random() < 0.02), chance.choice((0.5, 1.5))) for _ in range(600)]
    bad = [(1.0, weight) for _, weight in drawn]
    found = certify_weighted([drawn, drawn, bad], limit=0.09, delta=0.05, weight_max=2.0)
    assert found.index == 1
    assert certify_weighted([bad], limit=0.09, delta=0.05, weight_max=2.0).index is None
