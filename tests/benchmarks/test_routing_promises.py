"""Promises on made-up outcomes: kept by the certified threshold, broken by the tuned one."""

import random

import pytest

from benchmarks.outcomes import Outcome
from benchmarks.routing_promises import Judged, absolute, alarms, paired


def outcomes(count: int, *, harder: float = 0.0) -> tuple[list[Outcome], list[float]]:
    """Twenty subjects of rising difficulty, whose score tells the truth."""
    chance = random.Random(0)
    rows, scores = [], []
    for number in range(count):
        subject = number % 20
        wrong = min(1.0, chance.random() * 0.6 + harder * (subject >= 15))
        weak, strong = int(chance.random() > wrong), int(chance.random() > 0.05)
        rows.append(Outcome(str(number), f"s{subject:02}", "", weak, strong, None))
        scores.append(wrong - 0.05)
    return rows, scores


@pytest.fixture(scope="module")
def judged() -> Judged:
    return Judged(*outcomes(8000))


def test_an_absolute_promise_is_kept_and_a_tuned_threshold_breaks_it(judged: Judged) -> None:
    found = absolute(judged, "", 0.15, 1000, 300)
    assert found.broken <= 0.09  # 5 % promised; more once in 1,000 runs
    assert found.plug_in_broken > 0.3
    assert found.ideal <= found.share < found.ideal + 0.2


def test_a_paired_promise_is_kept(judged: Judged) -> None:
    found = paired(judged, "", 0.05, 1000, 300)
    assert found.broken <= 0.09
    assert found.ideal <= found.share < found.ideal + 0.2


def test_a_shift_raises_the_alarm() -> None:
    rows, scores = outcomes(4000, harder=0.6)
    found = alarms(rows, [0.0] * len(scores), limit=0.4, draws=3)
    assert found.shifts == 3
    assert found.in_time == 1.0
