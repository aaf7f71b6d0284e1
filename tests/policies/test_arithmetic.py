"""Recomputed equations."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.arithmetic import equations_in, evaluate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 3*4", 14),
        ("(2+3) x 4", 20),
        ("1,600 / 60", 1600 / 60),
        ("-5 + 2", -3),
        ("50% * 80", 40),
        ("$20 - $2.5", 17.5),
        ("10 - 2 - 3", 5),
    ],
)
def test_an_expression_is_computed(expression: str, value: float) -> None:
    assert evaluate(expression) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "x + 2", "2 +", "(2", "1/0", "2 ** 3", "a", "1" * 200])
def test_what_is_no_arithmetic_has_no_value(text: str) -> None:
    assert evaluate(text) is None


def test_a_wrong_equation_is_told_from_a_right_one() -> None:
    right, wrong = equations_in("So 12*3=<<12*3=36>>36 and then 36 + 5 = 42.")[1:]
    assert right.is_right
    assert not wrong.is_right


def test_a_rounded_result_is_right() -> None:
    (equation,) = equations_in("1600 / 60 = 26.67 hours")
    assert equation.is_right


def test_operands_are_listed() -> None:
    (equation,) = equations_in("2 x 3.5 = 7")
    assert equation.operands == (2.0, 3.5)


def test_a_hostile_answer_takes_no_time() -> None:
    started_s = time.perf_counter()
    equations_in("1+" * 20_000 + "=" * 20_000)
    equations_in("(" * 40_000)
    equations_in("1 " * 40_000)
    assert time.perf_counter() - started_s < 5.0


@given(st.text(alphabet="0123456789.+-*/()%x=<> $,"))
def test_any_text_is_read(text: str) -> None:
    for equation in equations_in(text):
        assert equation.is_right in (True, False)
