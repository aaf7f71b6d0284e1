"""A configuration error lists every finding, in file order, in the form editors understand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.errors import ConfigError, PointsmanError, Problem


def test_a_problem_reads_file_line_column_message() -> None:
    assert str(Problem("c.yaml", 3, 7, "bad unit")) == "c.yaml:3:7: bad unit"


def test_a_config_error_is_one_of_ours() -> None:
    assert issubclass(ConfigError, PointsmanError)


PROBLEMS = st.builds(
    Problem,
    st.sampled_from(["a.yaml", "b.yaml"]),
    st.integers(1, 300),
    st.integers(1, 80),
    st.text(min_size=1, max_size=10),
)


@given(st.lists(PROBLEMS, min_size=1, max_size=20))
def test_problems_come_in_file_order_and_all_are_printed(problems: list[Problem]) -> None:
    error = ConfigError(problems)
    places = [(problem.file, problem.line, problem.column) for problem in error.problems]
    assert places == sorted(places)
    assert len(error.problems) == len(problems)
    for problem in problems:
        assert str(problem) in str(error)


def test_the_callers_list_is_left_alone() -> None:
    problems = [Problem("f", 2, 1, "later"), Problem("f", 1, 1, "sooner")]
    ConfigError(problems)
    assert [problem.line for problem in problems] == [2, 1]


def test_a_problem_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Problem("f", 1, 1, "m").line = 2  # type: ignore[misc]
