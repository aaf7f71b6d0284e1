import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.intervals import (
    bootstrap_mean,
    bootstrap_quantile,
    holm,
    mcnemar,
    quantile,
    samples_needed,
    wilson,
)


@pytest.mark.parametrize(
    ("wrong", "total", "low", "high"),
    [(110, 1000, 0.0921, 0.1309), (40, 1000, 0.0295, 0.0540), (0, 64, 0.0, 0.0566)],
)
def test_wilson_agrees_with_known_figures(wrong, total, low, high):
    interval = wilson(wrong, total)
    assert interval.low == pytest.approx(low, abs=1e-4)
    assert interval.high == pytest.approx(high, abs=1e-4)


def test_wilson_covers_what_it_promises():
    draw = random.Random(7)
    hits = 0
    for _ in range(2000):
        wrong = sum(draw.random() < 0.08 for _ in range(300))
        interval = wilson(wrong, 300)
        hits += interval.low <= 0.08 <= interval.high
    assert 0.93 <= hits / 2000 <= 0.97


@pytest.mark.parametrize(
    ("share", "needed"), [(0.04, 126), (0.05, 197), (0.07, 787), (0.08, 3147), (0.09, None)]
)
def test_samples_needed_is_the_first_number_that_tells(share, needed):
    assert samples_needed(share, 0.09) == needed
    if needed is not None:
        assert wilson(share * needed, needed).high <= 0.09
        assert wilson(share * (needed - 1), needed - 1).high > 0.09


def test_samples_needed_works_from_above_too():
    needed = samples_needed(0.15, 0.09)
    assert needed is not None
    assert wilson(0.15 * needed, needed).low > 0.09


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_one_of_the_values_and_covers_its_share(values, share):
    value = quantile(sorted(values), share)
    assert value in values
    assert sum(v <= value for v in values) >= share * len(values) - 1e-6


def test_conversations_are_drawn_whole():
    """Ten answers alike tell no more than one: the interval must not shrink."""
    draw = random.Random(1)
    single = [[draw.gauss(10, 2)] for _ in range(50)]
    tenfold = [cluster * 10 for cluster in single]
    narrow, wide = (bootstrap_mean(c, seed=3, resamples=500) for c in (single, tenfold))
    assert wide.high - wide.low == pytest.approx(narrow.high - narrow.low, rel=0.01)
    assert 0.4 < narrow.high - narrow.low < 2


def test_the_same_seed_gives_the_same_interval():
    clusters = [[float(n)] for n in range(100)]
    assert bootstrap_quantile(clusters, 0.95, seed=5) == bootstrap_quantile(clusters, 0.95, seed=5)
    interval = bootstrap_quantile(clusters, 0.5, seed=5)
    assert interval.low <= interval.value <= interval.high


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (9, 2, 0.065430), (600, 500, 0.0028195), (1, 10, 0.011719)],
)
def test_mcnemar_is_exact(first, second, p):
    assert mcnemar(first, second) == pytest.approx(p, rel=1e-4)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_mcnemar_of_very_many_pairs_is_approximated():
    assert mcnemar(6000, 5000) < 1e-10
    assert mcnemar(5500, 5500) == pytest.approx(1.0)


def test_holm_adjusts_for_the_number_of_tests():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert all(math.isclose(p, 1.0) for p in holm([0.9, 0.8]))
