"""An answer's arithmetic, recomputed: its equations, and which of them are wrong.

Free and exact where it applies. On the open GSM8K rows 12.7 % of weak answers hold a wrong
equation; 31 % of those are right, 69 % of the rest.
"""

import re
from typing import NamedTuple

EQUATIONS_MAX = 64
TEXT_CHARACTERS_MAX = 8192
"""What is read of an answer: 2,000 tokens, a long solution."""
EXPRESSION_CHARACTERS_MAX = 120
"""A longer left side is no arithmetic of an answer, and nothing here may take long."""
ROUNDING = 0.011
"""Answers round: 26.67 for 1600 / 60 counts as right."""

_ANNOTATED = re.compile(r"<<([^=<>\n]{1,120})=([^<>\n]{1,40})>>")
_WRITTEN = re.compile(
    r"((?:\$?\({0,3}\d[\d.,]{0,20}%?\){0,3} {0,2}[-+*/x×÷] {0,2}){1,12}"
    r"\$?\({0,3}\d[\d.,]{0,20}%?\){0,3}) {0,2}= {0,2}"
    r"\$?(?:<<[^>\n]{0,160}>>)?\$?(-?\d[\d,]*(?:\.\d+)?)"
)
_PART = re.compile(r"\s*(\d[\d]*(?:\.\d+)?|\.\d+|[-+*/()%])")
_SIGNS = str.maketrans({"x": "*", "X": "*", "×": "*", "÷": "/", ",": None, "$": None})


class Equation(NamedTuple):
    """`left` as computed here, `right` as the answer has it."""

    left: float
    right: float
    operands: tuple[float, ...]

    @property
    def is_right(self) -> bool:
        """Equal, rounding allowed."""
        return abs(self.left - self.right) <= max(ROUNDING * abs(self.right), 0.006)


def equations_in(text: str) -> list[Equation]:
    """The equations between numbers that can be recomputed, in order."""
    text = text[-TEXT_CHARACTERS_MAX:]
    found = [*_ANNOTATED.finditer(text), *_WRITTEN.finditer(text)]
    found.sort(key=lambda match: match.start())
    equations = []
    for match in found[:EQUATIONS_MAX]:
        left, right = evaluate(match.group(1)), evaluate(match.group(2))
        if left is not None and right is not None:
            equations.append(Equation(left, right, operands_of(match.group(1))))
    return equations


def operands_of(expression: str) -> tuple[float, ...]:
    """The numbers of an expression."""
    parts = _PART.findall(expression.translate(_SIGNS))
    return tuple(float(part) for part in parts if part[-1].isdigit())


def evaluate(expression: str) -> float | None:
    """The value of `+ - * / % ()` between numbers; None where it is something else."""
    if len(expression) > EXPRESSION_CHARACTERS_MAX:
        return None
    plain = expression.translate(_SIGNS).rstrip(". ")
    parts = _PART.findall(plain)
    if "".join(parts) != plain.replace(" ", ""):
        return None
    try:
        value, rest = _sum(parts, 0)
    except (IndexError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if rest == len(parts) else None


def _sum(parts: list[str], at: int) -> tuple[float, int]:
    value, at = _product(parts, at)
    while at < len(parts) and parts[at] in "+-":
        term, after = _product(parts, at + 1)
        value = value + term if parts[at] == "+" else value - term
        at = after
    return value, at


def _product(parts: list[str], at: int) -> tuple[float, int]:
    value, at = _factor(parts, at)
    while at < len(parts) and parts[at] in "*/":
        factor, after = _factor(parts, at + 1)
        value = value * factor if parts[at] == "*" else value / factor
        at = after
    return value, at


def _factor(parts: list[str], at: int) -> tuple[float, int]:
    if parts[at] == "-":
        value, at = _factor(parts, at + 1)
        return -value, at
    if parts[at] == "(":
        value, at = _sum(parts, at + 1)
        if parts[at] != ")":
            raise ValueError("not closed")
        at += 1
    else:
        value, at = float(parts[at]), at + 1
    if at < len(parts) and parts[at] == "%":
        return value / 100.0, at + 1
    return value, at
