"""Replays of made-up outcomes: intervals hold the truth, logs that explored too little refuse."""

import random

import pytest

from benchmarks.outcomes import Outcome
from benchmarks.routing_backtest import replays


@pytest.fixture(scope="module")
def measured() -> tuple[list[Outcome], list[tuple[float, float]]]:
    chance = random.Random(0)
    rows, chances = [], []
    for number in range(4000):
        sure = 0.3 + 0.6 * chance.random()
        rows.append(
            Outcome(
                str(number), "", "", int(chance.random() < sure), int(chance.random() < 0.9), None
            )
        )
        chances.append((sure, 0.9))
    return rows, chances


def test_intervals_hold_the_truth(
    measured: tuple[list[Outcome], list[tuple[float, float]]],
) -> None:
    found = replays(*measured, labels=5000, explored=0.2, new_share=0.25, count=60)
    assert found.refused == 0
    assert found.doubly_robust_covers >= 0.85  # 95 % expected; fewer once in 1,000 runs


def test_a_log_that_explored_too_little_is_refused(
    measured: tuple[list[Outcome], list[tuple[float, float]]],
) -> None:
    found = replays(*measured, labels=1000, explored=0.01, new_share=0.70, count=5)
    assert found.refused == 1
