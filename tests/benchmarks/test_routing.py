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
from benchmarks.routing import write_scores, zeroeval
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
    assert total.share - total.ideal <= 0.13  # 0.10 is the least of any test of counts


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


ROWS = ["id", "subject", "prompt", "weak_correct", "strong_correct", "weak_response"]


def labelled(path: Path, columns: list[str], count: int = 200) -> Path:
    """Two kinds of prompt; the weak model fails on one, and doubts there."""
    chance = random.Random(0)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for number in range(count):
            is_hard = chance.random() < 0.5
            values: dict[str, object] = {
                "id": number, "subject": "sums", "weak_correct": int(not is_hard),
                "strong_correct": 1, "prompt": "prove the theorem" if is_hard else "add numbers",
                "weak_response": "I cannot" if is_hard else "#### 3",
            }  # fmt: skip
            writer.writerow(values)
    return path


@pytest.mark.parametrize(
    "columns",
    [
        ROWS,
        ROWS[:5],
        [name for name in ROWS if name != "subject"],
        [name for name in ROWS if name != "strong_correct"],
    ],
    ids=["all", "no-answers", "no-subjects", "no-strong-outcomes"],
)
@pytest.mark.parametrize(
    "asked",
    [
        "id,prompt\nhard,prove this theorem\neasy,add these numbers\n",
        "id,subject,prompt\nhard,sums,prove this theorem\neasy,unheard of,add these numbers\n",
        "\ufeffid,prompt,weak_response\nhard,prove this,I cannot\neasy,add numbers,#### 4\n",
    ],
    ids=["prompts", "new-subject", "answers"],
)
def test_scores_are_written_whatever_columns_there_are(
    tmp_path: Path, columns: list[str], asked: str
) -> None:
    score, output = tmp_path / "b.csv", tmp_path / "scores.csv"
    score.write_text(asked)
    write_scores(labelled(tmp_path / "a.csv", columns), score, output)
    found = {
        row["id"]: float(row["score"]) for row in csv.DictReader(output.read_text().splitlines())
    }
    assert list(found) == ["hard", "easy"]
    assert found["hard"] > found["easy"]


@pytest.mark.parametrize("count", [1, 7, 30])
def test_few_labels_give_scores_too(tmp_path: Path, count: int) -> None:
    score, output = tmp_path / "b.csv", tmp_path / "scores.csv"
    score.write_text("id,prompt,weak_correct\nx,,\n")
    write_scores(labelled(tmp_path / "a.csv", ROWS, count), score, output)
    (row,) = csv.DictReader(output.read_text().splitlines())
    assert -1.0 <= float(row["score"]) <= 1.0


def test_the_command_writes_scores_or_says_what_is_missing(tmp_path: Path) -> None:
    train, score = labelled(tmp_path / "a.csv", ROWS), tmp_path / "b.csv"
    score.write_text("id,prompt\nhard,prove this theorem\n")
    command = [sys.executable, "-m", "benchmarks.routing", "--output", tmp_path / "scores.csv"]
    subprocess.run([*command, "--train", train, "--score", score], cwd=ROOT, check=True)
    assert (tmp_path / "scores.csv").read_text().startswith("id,score\nhard,")


def test_what_cannot_be_fitted_is_refused_with_its_reason(tmp_path: Path) -> None:
    score, output = tmp_path / "b.csv", tmp_path / "scores.csv"
    score.write_text("id,prompt\nx,y\n")
    with pytest.raises(ValueError, match="no row with weak_correct"):
        write_scores(score, score, output)
    score.write_text("id,model\nx,y\n")
    with pytest.raises(ValueError, match="no column prompt"):
        write_scores(score, score, output)


def test_calibration_error_is_nought_where_all_comes_true() -> None:
    pairs = [(0.5, place % 2) for place in range(1000)]
    assert calibration_error(pairs) == pytest.approx(0.0, abs=1e-9)
    assert calibration_error([(0.9, 0)] * 100) == pytest.approx(0.9)
