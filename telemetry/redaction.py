"""Personal data and secrets in text, masked: the same value gets the same placeholder. Pure.

    <EMAIL_1> <PHONE_1> <CARD_1> <IBAN_1> <SSN_1> <KEY_1> <JWT_1> <IP_1>

Placeholders are numbered within one example, so a value that is asked for and answered stays the
same on both sides. Cards must pass Luhn's check, IBANs theirs (ISO 7064 mod 97-10), addresses
their range, so that amounts, dates and order numbers stay. What is no pattern is not found: names
and postal addresses need a model of their own.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

Json = dict[str, object]

PLACEHOLDERS_MAX: Final = 1000
"""An example with more is no text with some personal data in it but a list of it."""

_PATTERNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "JWT": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}",
        "KEY": r"\b(?:sk-[\w-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_\w{30,}"
        r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|glpat-[\w-]{20,})",
        "EMAIL": r"\b[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+\b",
        "IBAN": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b",
        "CARD": r"(?<![\w.,-])\d(?:[ -]?\d){12,18}(?![\w,-]|\.\d)",
        "SSN": r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])",
        "PHONE": r"(?<![\w.,$€£-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)[ .-]?|\d{3}[ .-])"
        r"\d{3}[ .-]\d{4}(?![\w-]|[.,]\d)"
        r"|(?<![\w.,$€£-])\+\d{1,3}(?:[ .-]?\d){7,12}(?![\w-]|[.,]\d)",
        "IP": r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])"
        r"|(?<![\w:])(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}(?![\w:])",
    }
)
_KEY_MARKS: Final = ("sk-", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox",
                     "AIza", "glpat-")  # fmt: skip


def _has_key(text: str) -> bool:
    return any(mark in text for mark in _KEY_MARKS)


_GATES: Final[tuple[tuple[tuple[str, ...], Callable[[str], object]], ...]] = (
    (("JWT",), lambda text: "eyJ" in text),
    (("KEY",), _has_key),
    (("EMAIL",), lambda text: "@" in text),
    (("IBAN",), re.compile(r"[A-Z]{2}\d\d[ A-Z0-9]").search),
    (
        ("CARD", "SSN", "PHONE", "IP"),
        re.compile(r"\d[\d ().-]{7,}\d|\d\.\d{1,3}\.\d").search,
    ),
    (("IP",), re.compile(r":[0-9a-fA-F]{1,4}:").search),
)
"""What a text must hold for a kind to be in it: one search each, and most texts hold none. The
patterns together, tried everywhere, cost 100 us for 600 characters; these cost 4."""


_CLASSES: Final = bytes(
    ord("0") if 48 <= code <= 57 or code > 127 else  # other scripts have digits too
    ord("A") if 65 <= code <= 90 else
    code if code == ord(".") else
    ord("-") if code in b" ()-" else
    ord("a")
    for code in range(256)
)  # fmt: skip
_WORDLIKE: Final = bytes(
    ord("w") if code in b"_-" or code > 127 or chr(code).isalnum() else ord(" ")
    for code in range(256)
)
_KEY_RUN: Final = b"w" * 15  # the shortest key there is a pattern of
_number_like: Final = re.compile(rb"0[0.\-]{7,}0").search
_address_like: Final = re.compile(rb"0\.0{1,12}\.0").search
_address6_like: Final = re.compile(rb":[0-9a-fA-F]{1,4}:").search


_is_data_url: Final = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[\w+/=-]*\Z").match
"""An image or a sound: no text, and not one that begins like it either."""


class RedactionRefused(Exception):
    """The example holds too much to be masked."""


def may_hold(data: bytes) -> bool:
    """Whether there may be anything to look for in UTF-8 text or JSON: false for most.

    By classes of bytes, 3 us for 800 characters; the gates of single kinds take 30.
    """
    classes = data.translate(_CLASSES)
    return bool(
        b"@" in data
        or b"eyJ" in data
        or b"AA00" in classes  # an IBAN's head
        or _number_like(classes)
        or _address_like(classes)
        or _address6_like(data)
        or _KEY_RUN in data.translate(_WORDLIKE)
    )


class Redactor:
    """Masks the texts of one example; `found` counts what was masked, by kind."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self._placeholders: dict[tuple[str, str], str] = {}

    def text(self, text: str) -> str:
        """`text` with placeholders. Raises RedactionRefused."""
        kinds = tuple(kind for group, gate in _GATES if gate(text) for kind in group)
        return _pattern(kinds).sub(self._mask, text) if kinds else text

    def value(self, value: object) -> object:
        """Every text in JSON data, keys left as they are."""
        if isinstance(value, str):
            return value if _is_data_url(value) else self.text(value)
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        if isinstance(value, dict):
            return {key: self.value(inner) for key, inner in value.items()}
        return value

    def _mask(self, match: re.Match[str]) -> str:
        kind, value = str(match.lastgroup), match[0]
        if not _CHECKS.get(kind, _always)(value):
            return value
        self.found[kind] += 1
        key = (kind, _bare(value))
        if key not in self._placeholders:
            if len(self._placeholders) >= PLACEHOLDERS_MAX:
                raise RedactionRefused
            number = sum(1 for other, _ in self._placeholders if other == kind) + 1
            self._placeholders[key] = f"<{kind}_{number}>"
        return self._placeholders[key]


@lru_cache(maxsize=64)  # as many as there are sets of gates that open
def _pattern(kinds: tuple[str, ...]) -> re.Pattern[str]:
    """The patterns of some kinds, tried in the order of the table."""
    wanted = (kind for kind in _PATTERNS if kind in kinds)
    return re.compile("|".join(f"(?P<{kind}>{_PATTERNS[kind]})" for kind in wanted))


def _always(value: str) -> bool:
    return True


def _bare(value: str) -> str:
    """Spelled with other separators it is the same value."""
    return re.sub(r"[ ()-]", "", value).lower()


def _passes_luhn(value: str) -> bool:
    digits = [int(character) for character in value if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(value: str) -> bool:
    bare = value.replace(" ", "")
    if not 15 <= len(bare) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in bare[4:] + bare[:4])) % 97 == 1


def _is_address(value: str) -> bool:
    return ":" in value or all(int(part) <= 255 for part in value.split("."))


_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {"CARD": _passes_luhn, "IBAN": _is_iban, "IP": _is_address}
)
