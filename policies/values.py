"""What an answer says, as a value: two answers agree where their values do, however spelt.

JSON is compared as JSON (key order and number spelling do not count), a text that ends in a
number by that number, all else by its words. `10` is not `100`, `1,250.10` is `1250.1`.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

NUMBER_DIGITS_MAX = 60
"""Longer digits are compared as text: no quantity has them, and decimals would cost time."""

_NUMBER = re.compile(r"(?<![\w.])-?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_MARKED = re.compile(r"####\s*([^\n]*)")
_SPACE = re.compile(r"\s+")


def value_of(text: str) -> object | None:
    """The value of an answer, ready to be compared; None where it says nothing."""
    stripped = text.strip()
    if not stripped:
        return None
    if stripped[0] in '{["':
        is_json, value = _read_json(stripped)
        if is_json:
            return ("json", _canonical(value))
    number = number_of(stripped)
    if number is not None:
        return number
    return _SPACE.sub(" ", stripped).casefold().rstrip(".")


def agree(one: str, other: str) -> bool | None:
    """Whether two answers say the same; None where either says nothing."""
    first, second = value_of(one), value_of(other)
    if first is None or second is None:
        return None
    return type(first) is type(second) and first == second


def number_of(text: str) -> Decimal | None:
    """The number a text ends in: after its last `####` if it has one, else the last of all."""
    marked = _MARKED.findall(text)
    found = _NUMBER.findall(marked[-1]) if marked else []
    digits = found[0] if found else next(iter(reversed(_NUMBER.findall(text))), None)
    return None if digits is None else read_number(digits)


def numbers_in(text: str) -> list[Decimal]:
    """Every number of a text, in order."""
    read = map(read_number, _NUMBER.findall(text))
    return [number for number in read if number is not None]


def read_number(digits: str) -> Decimal | None:
    """`-$1,250.10` as a number; None where it is none, or too long to be a quantity."""
    if len(digits) > NUMBER_DIGITS_MAX:
        return None
    try:
        return Decimal(digits.replace(",", "").replace("$", "")).normalize()
    except InvalidOperation:
        return None


def _read_json(text: str) -> tuple[bool, Any]:
    try:
        return True, msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False, None


def _canonical(value: Any) -> Any:
    """A value that compares as JSON does: 1 is 1.0, true is not 1."""
    if isinstance(value, dict):
        return ("{", *((name, _canonical(value[name])) for name in sorted(value)))
    if isinstance(value, list):
        return ("[", *map(_canonical, value))
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, str):
        number = read_number(value) if _NUMBER.fullmatch(value) else None
        return value if number is None else number
    if isinstance(value, int | float):
        return Decimal(repr(value)).normalize()
    return value
