"""RouteLLM's metric on curves worked out by hand."""

import gzip
from pathlib import Path

import pytest

from benchmarks.outcomes import Point, calls_for, curve, judge_score, read_outcomes

WEAK = [1] * 10 + [0] * 10
STRONG = [1] * 20


def test_a_perfect_score_is_worth_more_than_always_asking() -> None:
    scores = [float(place) for place in range(20)]
    figures = judge_score(scores, WEAK, STRONG)
    assert figures.apgr == pytest.approx(0.75)  # a triangle to half the calls, then all of it
    assert figures.cpt50 == pytest.approx(0.25)
    assert figures.beaten is None


def test_a_score_the_wrong_way_round_is_worth_less() -> None:
    scores = [float(-place) for place in range(20)]
    assert judge_score(scores, WEAK, STRONG).apgr == pytest.approx(0.25)


def test_the_curve_goes_from_none_to_all() -> None:
    points = curve([float(place) for place in range(20)], WEAK, STRONG)
    assert points[0] == Point(0.0, 0.5)
    assert points[-1] == Point(1.0, 1.0)
    assert len(points) == 11


def test_calls_between_two_points_lie_on_the_line() -> None:
    assert calls_for([Point(0.0, 0.5), Point(1.0, 1.0)], 0.6) == pytest.approx(0.2)
    assert calls_for([Point(0.0, 0.5), Point(1.0, 1.0)], 1.1) is None


def test_outcome_columns_may_be_missing(tmp_path: Path) -> None:
    plain, packed = tmp_path / "b.csv", tmp_path / "a.csv.gz"
    plain.write_text('id,prompt\nx,"two\nlines"\n')
    with gzip.open(packed, "wt") as file:
        file.write("id,subject,prompt,weak_correct,strong_correct\ny,law,hm,1,0\n")
    (row,) = read_outcomes(plain)
    assert (row.prompt, row.weak, row.task, row.weak_response) == ("two\nlines", None, "", None)
    (row,) = read_outcomes(packed)
    assert (row.weak, row.strong, row.task) == (1, 0, "law")
