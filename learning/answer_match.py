"""Whether two answers say the same. Pure.

    auto       JSON values where the expected answer is JSON, else text
    json       the same JSON value: key order and spelling of numbers do not count
    text       the same text, but for case and white space
    exact      the same characters
    contains   the expected answer occurs in the given one; numbers by value

Tool calls are the same where they name the same functions with the same arguments.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import msgspec

from policies.plausibility import as_number, is_in_text, leaves

Json = dict[str, object]

_SPACE: Final = re.compile(r"\s+")
_FENCE: Final = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def answer_text(message: Mapping[str, object]) -> str:
    """An assistant message as the text that is compared: its content, or its calls as JSON."""
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        return _encode([_call(call) for call in calls if isinstance(call, dict)]).decode()
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    refusal = message.get("refusal")
    return refusal if isinstance(refusal, str) else ""


def canonical(text: str) -> str:
    """The same for answers that `auto` holds equal: what k samples are counted by."""
    value = _json(text)
    if isinstance(value, dict | list):
        return _encode(_normal(value)).decode()
    number = as_number(text)
    return _plain(text) if number is None else _spelled(number)


def _auto(expected: str, given: str) -> bool:
    return canonical(expected) == canonical(given)


def _same_json(expected: str, given: str) -> bool:
    wanted, got = _json(expected), _json(given)
    return got is not _NOTHING and wanted is not _NOTHING and _normal(wanted) == _normal(got)


def _same_text(expected: str, given: str) -> bool:
    return _plain(expected) == _plain(given)


def _exact(expected: str, given: str) -> bool:
    return expected == given


def _contains(expected: str, given: str) -> bool:
    value = _json(expected)
    if isinstance(value, dict | list):
        return all(is_in_text(leaf, given) for leaf in leaves(value))
    return is_in_text(expected, given)


COMPARISONS: Final[Mapping[str, Callable[[str, str], bool]]] = MappingProxyType(
    {
        "auto": _auto,
        "json": _same_json,
        "text": _same_text,
        "exact": _exact,
        "contains": _contains,
    }
)

_NOTHING: Final = object()


def _json(text: str) -> object:
    """The JSON value of a text, one in a code fence too; a private marker where it is none."""
    fenced = _FENCE.match(text)
    try:
        return msgspec.json.decode((fenced[1] if fenced else text).encode("utf-8"))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _NOTHING


def _normal(value: object) -> object:
    """JSON with numbers by value (1250.10 is 1250.1) and text without needless white space."""
    if isinstance(value, dict):
        return {key: _normal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_normal(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        number = as_number(value)
        return value if number is None else _spelled(number)
    return _SPACE.sub(" ", str(value)).strip()


def _spelled(number: Decimal) -> str:
    return f"#{number.normalize():f}"


def _plain(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)
    return _SPACE.sub(" ", composed).strip().casefold()


def _call(call: Json) -> Json:
    """A call's function and arguments; its id is chance."""
    function = call.get("function")
    if not isinstance(function, dict):
        return {}
    arguments = function.get("arguments")
    value = _json(arguments) if isinstance(arguments, str) else arguments
    return {
        "name": function.get("name"),
        "arguments": arguments if value is _NOTHING else _normal(value),
    }
