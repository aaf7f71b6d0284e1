"""The router's figures as floors: one split each, 0.02 below what is promised at least.

Where the outcomes lie beside the project they must be there; elsewhere this is skipped.
"""

import csv
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.outcomes import DATA, ROOT, Outcome, judge_score, mean_figures, read_outcomes
from benchmarks.routing import zeroeval
from benchmarks.routing_backtest import replays
from benchmarks.routing_promises import Judged, absolute, paired
from benchmarks.routing_rows import (
    by_subject,
    calibration_error,
    examples_of,
    few_labels,
    gains,
    run,
    stratified,
    unseen_chances,
)
from learning.fit import Example

beside = pytest.mark.skipif(
    not DATA.parent.is_dir(), reason="no ../shared beside this project: no outcomes to judge on"
)


@pytest.fixture(scope="module")
def mmlu() -> list[Outcome]:
    return read_outcomes(DATA / "routing" / "mmlu_outcomes.csv.gz")


@pytest.fixture(scope="module")
def examples(mmlu: list[Outcome]) -> list[Example]:
    return examples_of(mmlu, with_answers=False)


@pytest.fixture(scope="module")
def chances(mmlu: list[Outcome], examples: list[Example]) -> list[tuple[float, float]]:
    """Of models that did not see the row, five folds."""
    return unseen_chances(mmlu, examples, stratified)


@beside
def test_mmlu_before_the_call(mmlu: list[Outcome], chances: list[tuple[float, float]]) -> None:
    gain = gains(chances)
    judged = []
    for _, test in stratified(mmlu, 0):
        weak, strong = [mmlu[i].weak or 0 for i in test], [mmlu[i].strong or 0 for i in test]
        judged.append(judge_score([gain[i] for i in test], weak, strong))
    figures = mean_figures(judged)
    assert figures.apgr >= 0.68
    assert (figures.cpt50 or 1) <= 0.27
    assert (figures.cpt80 or 1) <= 0.57
    assert (figures.near or 1) <= 0.42
    weak_right = [(weak, row.weak or 0) for (weak, _), row in zip(chances, mmlu, strict=True)]
    assert calibration_error(weak_right) <= 0.03


@beside
def test_mmlu_with_few_labels(mmlu: list[Outcome], examples: list[Example]) -> None:
    assert run("", mmlu, examples, few_labels, [0, 1]).figures.apgr >= 0.62


@beside
def test_mmlu_with_subjects_never_seen(mmlu: list[Outcome], examples: list[Example]) -> None:
    assert run("", mmlu, examples, by_subject, [0], parts=2).figures.apgr >= 0.61


@beside
def test_promises_on_mmlu_are_kept_and_near_what_is_ideal(
    mmlu: list[Outcome], chances: list[tuple[float, float]]
) -> None:
    judged = Judged(mmlu, gains(chances))
    total = absolute(judged, "", 0.25, 3000, 400)
    pairs = paired(judged, "", 0.05, 3000, 400)
    for found in (total, pairs):
        assert found.broken <= 0.09  # 5 % promised; more once in 1,000 runs
        assert found.plug_in_broken > 0.3
    assert pairs.share - pairs.ideal <= 0.10
    assert total.share - total.ideal <= 0.13  # the least any test can do with 3,000 labels is 0.10


@beside
def test_intervals_of_backtests_on_mmlu_hold_the_truth(
    mmlu: list[Outcome], chances: list[tuple[float, float]]
) -> None:
    found = replays(mmlu, chances, labels=3000, explored=0.2, new_share=0.25, count=60)
    assert found.refused == 0
    assert found.doubly_robust_covers >= 0.85  # 95 % expected; fewer once in 1,000 runs
    assert found.snips_covers >= 0.85


@beside
def test_gsm8k_after_the_answer() -> None:
    rows = read_outcomes(DATA / "routing" / "gsm8k_outcomes.csv.gz")
    found = run("", rows, examples_of(rows, with_answers=True), stratified, [0])
    assert found.figures.apgr >= 0.78
    assert (found.figures.beaten or 1) <= 0.72
    assert found.calibration <= 0.05  # of 1,046 rows: a third of it is chance


@beside
def test_two_cheap_answers_that_agree_close_the_gap() -> None:
    found = dict(zeroeval())["agreement, whole numbers only"]
    assert found.gap >= 0.98
    assert found.calls <= 0.16


def test_scores_are_written_for_rows_without_outcomes(tmp_path: Path) -> None:
    chance = random.Random(0)
    train, score, output = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "scores.csv"
    with train.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "subject", "prompt", "weak_correct", "strong_correct"])
        for number in range(200):
            is_hard = chance.random() < 0.5
            prompt = "prove the theorem" if is_hard else "add the numbers"
            writer.writerow([number, "sums", prompt, int(not is_hard), 1])
    score.write_text("id,prompt\nhard,prove this theorem\neasy,add these numbers\n")
    command = [sys.executable, "-m", "benchmarks.routing", "--train", train, "--score", score]
    subprocess.run([*command, "--output", output], cwd=ROOT, check=True)
    rows = csv.DictReader(output.read_text().splitlines())
    found = {row["id"]: float(row["score"]) for row in rows}
    assert list(found) == ["hard", "easy"]
    assert found["hard"] > found["easy"]


def test_calibration_error_is_nought_where_all_comes_true() -> None:
    pairs = [(0.5, place % 2) for place in range(1000)]
    assert calibration_error(pairs) == pytest.approx(0.0, abs=1e-9)
    assert calibration_error([(0.9, 0)] * 100) == pytest.approx(0.9)
