"""Goals: the worst row counts, or all of them pooled; what was not reached is missed."""

import pytest

from benchmarks.routing_goals import GOALS, Goal, line, verdicts

LEAST = Goal("name", "row ", "share", ">=", 0.9, 0.95)
MOST = Goal("name", "row ", "share", "<=", 0.9)


@pytest.mark.parametrize(("goal", "measured"), [(LEAST, 0.5), (MOST, 1.0)])
def test_the_worst_row_counts(goal: Goal, measured: float) -> None:
    (found,) = verdicts({"row a": {"share": 1.0}, "row b": {"share": 0.5}}, [goal])
    assert found.measured == measured
    assert not found.is_met


def test_a_row_of_just_that_name_counts_alone() -> None:
    goal = LEAST._replace(row="row a")
    (found,) = verdicts({"row a": {"share": 0.9}, "row ab": {"share": 0.1}}, [goal])
    assert (found.measured, found.row) == (0.9, "")


def test_pooled_rows_count_together() -> None:
    goal = LEAST._replace(how="pooled")
    (found,) = verdicts({"row a": {"share": 1.0}, "row b": {"share": 0.86}}, [goal])
    assert found.measured == pytest.approx(0.93)
    assert found.is_met


def test_what_is_never_reached_is_missed() -> None:
    (found,) = verdicts({"row a": {"share": None}, "row b": {"share": 1.0}}, [LEAST])
    assert (found.measured, found.is_met, found.row) == (None, False, "row a")
    assert "never" in line(found)
    assert "MISSED" in line(found)


def test_rows_that_were_not_run_are_left_out() -> None:
    assert list(verdicts({"other": {"share": 1.0}, "row a": {"cost": 1.0}}, [LEAST])) == []


def test_a_line_says_what_was_promised_aimed_at_and_measured() -> None:
    (found,) = verdicts({"row a": {"share": 0.92}}, [LEAST])
    assert line(found).split() == ["name", ">=", "0.900", "aim", "0.950", "0.920", "met"]


def test_no_aim_is_below_what_is_promised_at_least() -> None:
    for goal in GOALS:
        if goal.aim is not None:
            assert (goal.aim > goal.least) == (goal.sense == ">="), goal.name
