"""Figures of a given answer: its form, its arithmetic, and whether its numbers come from somewhere.

They say how far an answer is to be trusted once a fit has weighed them (learning/fit.py); alone
none of them says that it is right.
"""

import re
from math import log, log1p

from .arithmetic import Equation, equations_in
from .values import number_of, numbers_in

ANSWER_NAMES = (
    "marked", "no_number", "ends_in_result", "number_is_result", "wrong", "any_wrong", "rounded",
    "equations", "no_equation", "unknown_operands", "any_unknown_operand", "negative_result",
    "fractions", "fraction_given", "loose_results", "unused_numbers", "unsaid_numbers",
    "number_was_asked", "size", "size_to_asked", "negative", "zero", "characters", "lines",
    "symbols", "doubts", "rounds", "therefore", "cut", "marks", "length_to_prompt", "divisions",
    "subtractions", "products", "asked_numbers", "asked_words", "sentences", "percent",
    "parts", "condition", "comparison", "multiple", "each", "left_over", "average", "ages",
    "questions", "large", "decimals", "equations_to_numbers",
)  # fmt: skip

_WORDS = re.compile(r"[a-z]+|%")
_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_SYMBOLS = re.compile(r"\blet\b|\bequation|\bsolv|\bvariable|\b[xyz]\b\s*=", re.IGNORECASE)
_DOUBTS = re.compile(
    r"however|assum|cannot|not possible|does not (?:say|mention|specify)|actually|mistake",
    re.IGNORECASE,
)
_ROUNDS = re.compile(r"≈|approx|about|round", re.IGNORECASE)
_NUMBER_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30,
    "hundred": 100, "dozen": 12, "half": 2, "twice": 2, "double": 2, "doubled": 2, "triple": 3,
    "thrice": 3, "third": 3, "quarter": 4, "once": 1, "pair": 2, "pairs": 2, "both": 2,
    "couple": 2, "week": 7, "weeks": 7, "weekly": 7, "daily": 7, "hour": 60, "hours": 60,
    "minutes": 60, "day": 24, "days": 24, "year": 12, "month": 12, "months": 12, "feet": 12,
    "foot": 12, "yard": 3, "%": 100, "percent": 100,
}  # fmt: skip
_FREE_NUMBERS = frozenset({0.0, 1.0, 2.0, 100.0})
"""Operands that need no source: halves, percentages, one more."""


def answer_numbers(prompt: str, answer: str) -> tuple[float, ...]:
    """The figures of ANSWER_NAMES, in their order."""
    equations = equations_in(answer)
    asked = [float(number) for number in numbers_in(prompt)]
    words = [float(_NUMBER_WORDS[w]) for w in _WORDS.findall(prompt.lower()) if w in _NUMBER_WORDS]
    found = number_of(answer)
    given = None if found is None else float(found)
    return (
        *_of_result(answer, given, equations),
        *_of_equations(equations, asked, words),
        *_of_numbers(answer, given, equations, asked),
        *_of_form(prompt, answer),
        *_of_operators(answer),
        *_of_prompt(prompt, asked, words),
        len(equations) / (1 + len(asked)),
    )


def _of_result(answer: str, given: float | None, equations: list[Equation]) -> tuple[float, ...]:
    results = [equation.right for equation in equations]
    is_last = given is not None and bool(results) and _same(given, results[-1])
    is_any = given is not None and any(_same(given, result) for result in results)
    return float("####" in answer), float(given is None), float(is_last), float(is_any)


def _of_equations(
    equations: list[Equation], asked: list[float], words: list[float]
) -> tuple[float, ...]:
    wrong = sum(not equation.is_right for equation in equations)
    rounded = sum(
        equation.is_right and not _same(equation.left, equation.right) for equation in equations
    )
    unknown = _unknown_operands(equations, asked, words)
    results = [equation.right for equation in equations]
    return (
        float(min(wrong, 4)),
        float(wrong > 0),
        float(min(rounded, 4)),
        float(min(len(equations), 15)),
        float(not equations),
        float(min(unknown, 6)),
        float(unknown > 0),
        float(any(result < 0 for result in results)),
        float(min(sum(map(_is_fraction, results)), 5)),
    )


def _unknown_operands(equations: list[Equation], asked: list[float], words: list[float]) -> int:
    """Operands that were neither in the prompt nor a result before: made up."""
    known = {*_FREE_NUMBERS, *asked, *words}
    unknown = 0
    for equation in equations:
        for operand in equation.operands:
            unknown += not any(_same(operand, number) for number in known)
        known.add(equation.right)
    return unknown


def _of_numbers(
    answer: str, given: float | None, equations: list[Equation], asked: list[float]
) -> tuple[float, ...]:
    used = {operand for equation in equations for operand in equation.operands}
    said = {float(number) for number in numbers_in(answer)}
    results = list(dict.fromkeys(equation.right for equation in equations))
    loose = sum(not any(_same(result, number) for number in used) for result in results[:-1])
    unused = sum(not any(_same(number, operand) for operand in used) for number in set(asked))
    unsaid = len(set(asked) - said)
    value = 0.0 if given is None else given
    size = log(1 + abs(value), 10)
    return (
        float(given is not None and _is_fraction(value)),
        float(min(loose, 5)),
        float(min(unused, 5)),
        float(min(unsaid, 5)),
        float(given is not None and any(_same(value, number) for number in asked)),
        size,
        size - log(1 + max(map(abs, asked), default=0.0), 10),
        float(value < 0),
        float(given == 0),
    )


def _of_form(prompt: str, answer: str) -> tuple[float, ...]:
    ending = answer.rstrip()[-1:]
    return (
        log1p(len(answer)),
        float(min(answer.count("\n"), 30)),
        float(_SYMBOLS.search(answer) is not None),
        float(_DOUBTS.search(answer) is not None),
        float(_ROUNDS.search(answer) is not None),
        float("therefore" in answer.lower()),
        float(not (ending == "." or ending.isdigit())),
        float(min(answer.count("####"), 3)),
        min(len(answer) / (1 + len(prompt)), 10.0),
    )


def _of_operators(answer: str) -> tuple[float, ...]:
    return (
        float(min(answer.count(" / "), 8)),
        float(min(answer.count(" - "), 8)),
        float(min(answer.count(" * ") + answer.count(" x "), 8)),
    )


def _of_prompt(prompt: str, asked: list[float], words: list[float]) -> tuple[float, ...]:
    lower = prompt.lower()
    return (
        float(min(len(asked), 12)),
        float(min(len(words), 12)),
        float(min(len(_SENTENCE.findall(prompt)), 12)),
        float("%" in prompt or "percent" in lower),
        float("/" in prompt or "half" in lower or "third" in lower or "quarter" in lower),
        float(" if " in lower or lower.startswith("if")),
        float("more than" in lower or "less than" in lower or "fewer" in lower),
        float("twice" in lower or "times" in lower),
        float("each" in lower or "every" in lower),
        float("left" in lower or "remain" in lower),
        float("average" in lower),
        float("how long" in lower or "how old" in lower or " age" in lower),
        float(min(prompt.count("?"), 4)),
        float(max(map(abs, asked), default=0.0) > 1000),
        float(min(sum(map(_is_fraction, asked)), 5)),
    )


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-6 * max(1.0, abs(other))


def _is_fraction(value: float) -> bool:
    return abs(value - round(value)) > 1e-6 if abs(value) < 1e15 else False
