"""Bets against a mean: they seldom win while it holds, and win fast where it does not."""

import random
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.wealth import Wealth, against_at_least, against_at_most


def play(wealth: Wealth, share: float, count: int, seed: int) -> bool:
    """Whether the claim was refuted at 5 % at any time."""
    chance = random.Random(seed)
    for _ in range(count):
        wealth = wealth.bet(float(chance.random() < share))
        if wealth.has_refuted(0.05):
            return True
    return False


def test_a_claim_that_holds_is_seldom_refuted_however_often_one_looks() -> None:
    refuted = sum(play(against_at_most(0.2), 0.2, 400, seed) for seed in range(200))
    assert refuted <= 20  # expected at most 10; 21 or more once in 1,000 runs


def test_a_mean_far_above_the_claim_is_found() -> None:
    assert all(play(against_at_most(0.1), 0.3, 400, seed) for seed in range(20))


def test_a_mean_far_below_the_claim_is_found() -> None:
    assert all(play(against_at_least(0.3), 0.1, 400, seed) for seed in range(20))


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.01, 0.99))
def test_the_order_does_not_matter_and_capital_stays_above_nought(
    observations: list[float], claim: float
) -> None:
    there, back = against_at_most(claim), against_at_most(claim)
    for observation in observations:
        there = there.bet(observation)
    for observation in reversed(observations):
        back = back.bet(observation)
    assert there.log_capital == pytest.approx(back.log_capital, abs=1e-9)
    assert there.log_capital > -inf


@pytest.mark.parametrize("observation", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(observation: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        against_at_least(0.5).bet(observation)


@pytest.mark.parametrize("claim", [0.0, 1.0, float("nan")])
def test_a_claim_that_cannot_be_bet_against_is_refused(claim: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        against_at_most(claim)
