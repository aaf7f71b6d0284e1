"""Estimates from a log: right on average, honest intervals, and what is refused."""

import random

import pytest

from learning.off_policy import DIFFERING_MIN, Row, judge_policy, student

SHARE = 0.1
TRUTH = 0.3


def log(seed: int, count: int = 3000) -> list[Row]:
    """The log asks `weak`, wrong half the time, and explores; the new policy asks `strong`."""
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        is_strong = chance.random() < SHARE / 2
        wrong = chance.random() < (TRUTH if is_strong else 0.5)
        propensity = SHARE / 2 if is_strong else 1 - SHARE / 2
        guess = 0.35 if is_strong else 0.45
        rows.append(Row(float(wrong), propensity, float(is_strong), True, guess, 0.35))
    return rows


def test_intervals_cover_the_truth() -> None:
    findings = [judge_policy(log(seed)) for seed in range(200)]
    for covered in (
        sum(f.snips is not None and f.snips.covers(TRUTH) for f in findings),
        sum(f.doubly_robust is not None and f.doubly_robust.covers(TRUTH) for f in findings),
    ):
        assert covered >= 179  # 190 expected; fewer once in 1,000 runs


def test_the_log_itself_is_shown_beside() -> None:
    logged = judge_policy(log(0)).logged
    assert logged is not None
    assert 0.45 < logged.value < 0.53


def test_a_policy_that_changes_nothing_is_the_log() -> None:
    rows = [row._replace(new_share=1.0, propensity=1.0, is_differing=False) for row in log(1)]
    found = judge_policy(rows)
    assert found.refusal is None
    assert found.snips == found.logged


def test_without_the_new_choice_in_the_log_it_refuses() -> None:
    few = [row for row in log(2) if row.new_share == 0][:1000]
    few += [row for row in log(2) if row.new_share == 1][: DIFFERING_MIN - 1]
    assert "only 29 rows" in (judge_policy(few).refusal or "")


def test_a_small_effective_sample_is_refused() -> None:
    assert "effective sample size" in (judge_policy(log(3, 1500)).refusal or "")


def test_a_choice_the_log_could_never_take_is_refused() -> None:
    rows = log(4)
    rows[7] = rows[7]._replace(is_covered=False)
    assert "could never have taken" in (judge_policy(rows).refusal or "")


def test_a_choice_without_probability_is_refused() -> None:
    assert "without a probability" in (judge_policy([Row(1.0, 0.0, 1.0, True)]).refusal or "")


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_unknown_values_are_left_out(unknown: float | None) -> None:
    found = judge_policy([*log(5), Row(unknown, 1.0, 1.0, False)])
    assert found.rows == 3000


def test_nothing_known_is_refused() -> None:
    found = judge_policy([])
    assert found.snips is None
    assert found.refusal == "no row of the log has a known value"


def test_rows_of_one_conversation_count_as_one() -> None:
    rows = log(6)
    alike = [row._replace(unit=str(number // 30)) for number, row in enumerate(rows) for _ in "ab"]
    apart, together = judge_policy(rows).logged, judge_policy(alike).logged
    assert apart is not None
    assert together is not None
    assert together.high - together.low > 0.9 * (apart.high - apart.low)


@pytest.mark.parametrize(("freedom", "quantile"), [(5, 2.571), (30, 2.042), (1e9, 1.960)])
def test_few_rows_of_weight_widen_the_interval(freedom: float, quantile: float) -> None:
    assert student(freedom) == pytest.approx(quantile, abs=0.01)
