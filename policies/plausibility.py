"""One check of the operator held against one answer: the value at a JSON pointer.

`in_prompt` asks whether the value was in what the model was given, which catches invention.
Values are compared, not spellings: 1250.1 is found in "Payoff 1,250.10 as of today". A check
whose pointer leads nowhere fails.
"""

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import reduce
from typing import Any

from .words import Check

_MISSING = object()
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[-+]?\.\d+")
_SPACE = re.compile(r"\s+")


def check_passes(check: Check, document: Any, prompt_text: str) -> bool:
    """Whether the value `check` points at is as it must be."""
    value = resolve(document, check.at)
    if value is _MISSING:
        return False
    if check.schema is not None and not check.schema.fits(value):
        return False
    return not check.in_prompt or all(is_in_text(leaf, prompt_text) for leaf in leaves(value))


def resolve(document: Any, pointer: str) -> Any:
    """The value at an RFC 6901 pointer; a private marker where there is none."""
    return reduce(_descend, pointer_parts(pointer), document)


def pointer_parts(pointer: str) -> list[str]:
    """The pointer's unescaped steps. Raises ValueError with what is wrong with it."""
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is not a JSON pointer; write /name or /list/0/name")
    if re.search(r"~(?![01])", pointer):
        raise ValueError(f"{pointer!r}: in a JSON pointer ~ is written ~0 and / is written ~1")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def leaves(value: Any) -> Iterator[Any]:
    """Every scalar in a value; null is one, an empty list has none."""
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
        else:
            yield current


def is_in_text(value: Any, text: str) -> bool:
    """Whether a scalar occurs in `text`: numbers by value, words regardless of case and spacing.

    null and booleans are statements about the text, not parts of it, and always pass.
    """
    if value is None or isinstance(value, bool):
        return True
    number = as_number(value)
    if number is not None:
        return number in numbers_in(text)
    wanted = _normalised(str(value))
    return wanted in _normalised(text)


def as_number(value: Any) -> Decimal | None:
    """A number, or a string that is one (`"1,250.10"`, `"$ 12"`), as a decimal."""
    if isinstance(value, int | float):
        return _decimal(repr(value))
    text = str(value).strip().strip("$€£ ")
    return _decimal(text.replace(",", "")) if _NUMBER.fullmatch(text) else None


def numbers_in(text: str) -> set[Decimal]:
    """Every number in a text, thousands separators left out, and each without its sign too.

    A hyphen before digits may be a dash (`3-4`), so both readings count.
    """
    found = (_decimal(match[0].replace(",", "")) for match in _NUMBER.finditer(text))
    numbers = {number for number in found if number is not None}
    return numbers | {abs(number) for number in numbers}


def _descend(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part, _MISSING)
    if isinstance(value, list) and re.fullmatch(r"0|[1-9]\d{0,8}", part) and int(part) < len(value):
        return value[int(part)]
    return _MISSING


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _normalised(text: str) -> str:
    return _SPACE.sub(" ", text).strip().casefold()
