"""Figures of an answer: one by one, and for any text at all."""

from math import isfinite

from hypothesis import given
from hypothesis import strategies as st

from policies.answer_features import ANSWER_NAMES, answer_numbers

PROMPT = "Tom has 3 boxes of 12 pens and gives 5 away. How many are left?"
GOOD = "3 x 12 = <<3*12=36>>36 pens.\n36 - 5 = <<36-5=31>>31\n#### 31"


def figures(answer: str, prompt: str = PROMPT) -> dict[str, float]:
    return dict(zip(ANSWER_NAMES, answer_numbers(prompt, answer), strict=True))


def test_an_answer_in_order_has_no_fault() -> None:
    found = figures(GOOD)
    assert found["marked"] == found["ends_in_result"] == found["number_is_result"] == 1
    faults = ("wrong", "unknown_operands", "loose_results", "unused_numbers", "fraction_given")
    assert [found[name] for name in faults] == [0.0] * len(faults)


def test_a_wrong_equation_is_counted() -> None:
    assert figures("3 x 12 = 37\n#### 37")["any_wrong"] == 1


def test_a_number_from_nowhere_is_counted() -> None:
    assert figures("3 x 12 = 36, 36 - 17 = 19\n#### 19")["unknown_operands"] == 1


def test_a_number_of_the_prompt_left_unused_is_counted() -> None:
    assert figures("3 x 12 = 36\n#### 36")["unused_numbers"] == 1


def test_a_result_nobody_needed_is_counted() -> None:
    assert figures("3 x 5 = 15, 12 + 12 = 24, 12 - 5 = 7\n#### 7")["loose_results"] == 2


def test_an_answer_that_is_no_whole_number_is_told() -> None:
    assert figures("36 / 5 = 7.2\n#### 7.2")["fraction_given"] == 1


def test_an_empty_answer_has_figures_too() -> None:
    assert figures("")["no_number"] == 1


@given(st.text(), st.text())
def test_any_text_gives_finite_figures(prompt: str, answer: str) -> None:
    found = answer_numbers(prompt, answer)
    assert len(found) == len(ANSWER_NAMES)
    assert all(map(isfinite, found))
