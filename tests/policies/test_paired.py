"""The exact test of pairs: its size for every rate, its order, and the fixed sequence."""

import random
from itertools import product
from math import comb, inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policies.paired import certify_pairs, critical_score, paired_score, size_of


@example(11, 0.25, 0.96875, 0.0)
@settings(deadline=None, max_examples=40)
@given(st.integers(1, 25), st.floats(0.02, 0.4), st.floats(0.0, 0.99), st.floats(-3.0, 0.5))
def test_the_size_is_the_sum_over_all_that_may_be_seen(
    labels: int, margin: float, place: float, critical: float
) -> None:
    rate = place * (1 - margin) / 2
    expected = sum(
        comb(labels, better)
        * comb(labels - better, worse)
        * rate**better
        * (rate + margin) ** worse
        * max(0.0, 1 - 2 * rate - margin) ** (labels - better - worse)
        for better, worse in product(range(labels + 1), repeat=2)
        if better + worse <= labels and paired_score(worse, better, labels, margin) <= critical
    )
    assert size_of(critical, labels, margin, rate) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("labels", [40, 300, 2000])
@pytest.mark.parametrize("margin", [0.005, 0.05])
def test_a_claim_that_holds_is_refuted_at_the_level_whatever_the_rate(
    labels: int, margin: float
) -> None:
    critical = critical_score(labels, margin, 0.05)
    sizes = [
        size_of(critical, labels, margin, (1 - margin) / 2 * place / 41) for place in range(41)
    ]
    assert max(sizes) <= 0.051  # between the rates tried it may be a trifle above
    assert max(sizes) >= 0.03 or labels * margin < 20


def test_a_worse_answer_more_raises_the_score_and_a_better_one_lowers_it() -> None:
    assert paired_score(11, 5, 100, 0.05) > paired_score(10, 5, 100, 0.05)
    assert paired_score(10, 6, 100, 0.05) < paired_score(10, 5, 100, 0.05)
    assert paired_score(0, 0, 0, 0.05) == inf


def test_the_sequence_stops_at_the_first_that_is_not_proved() -> None:
    critical = critical_score(1000, 0.05, 0.05)
    found = certify_pairs([0, 20, 90, 10], [0, 10, 10, 5], 1000, margin=0.05, critical=critical)
    assert (found.index, found.errors, found.bound) == (1, 10, 0.05)
    nothing = certify_pairs([90], [0], 1000, margin=0.05, critical=critical)
    assert (nothing.index, nothing.bound) == (None, 1.0)
    assert certify_pairs([], [], 0, margin=0.05, critical=critical).index is None


def test_pairs_drawn_at_the_margin_are_seldom_certified() -> None:
    critical = critical_score(500, 0.05, 0.05)
    chance, certified = random.Random(0), 0
    for _ in range(400):
        drawn = [chance.random() for _ in range(500)]
        worse, better = sum(d < 0.10 for d in drawn), sum(d > 0.95 for d in drawn)
        found = certify_pairs([worse], [better], 500, margin=0.05, critical=critical)
        certified += found.index is not None
    assert 5 <= certified <= 36  # 20 expected at most; beyond once in 1,000 runs


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1])
def test_a_margin_that_cannot_be_tested_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        critical_score(100, margin, 0.05)
