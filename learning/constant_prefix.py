"""The part that all requests of a route begin with: instructions, not content. Pure.

Near-duplicates are looked for behind it, else a long system prompt makes every row like every
other; and a student may be trained without it, saving its tokens at every call. A rule is learned
from a sample: whole leading messages first, then a span of text of the next one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

import msgspec

Json = dict[str, object]

SHARE: Final = 0.99
"""Of the rows must begin like that."""
TEXT_CHARS_MIN: Final = 200
"""A shorter common beginning is a turn of phrase."""
MESSAGES_MAX: Final = 8
SAMPLE_MIN: Final = 20
"""Fewer rows show no rule."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class PrefixRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What requests of a route begin with; empty where they begin each with their own."""

    messages: tuple[Json, ...] = ()
    text: str = ""
    """Of the message behind those."""

    @property
    def id(self) -> str:
        """Names the rule, for whoever strips it when serving."""
        return sha256(_encode((self.messages, self.text))).hexdigest()[:16]

    @property
    def is_empty(self) -> bool:
        """Nothing is constant."""
        return not self.messages and not self.text

    def strip(self, messages: Sequence[Json]) -> list[Json] | None:
        """The messages without the prefix; None where they begin otherwise, or nothing is left."""
        count = len(self.messages)
        if len(messages) <= count or list(messages[:count]) != list(self.messages):
            return None
        rest = list(messages[count:])
        if self.text:
            content = rest[0].get("content")
            if not isinstance(content, str) or not content.startswith(self.text):
                return None
            rest[0] = {**rest[0], "content": content[len(self.text) :]}
        return rest


NOTHING: Final = PrefixRule()


def find_prefix(rows: Sequence[Sequence[Json]]) -> PrefixRule:
    """The rule that at least SHARE of the rows (messages of each) keep."""
    if len(rows) < SAMPLE_MIN:
        return NOTHING
    needed = SHARE * len(rows)
    constant: list[Json] = []
    current = list(rows)
    while len(constant) < MESSAGES_MAX:
        place = len(constant)
        counts = Counter(_encode(row[place]) for row in current if len(row) > place + 1)
        if not counts:
            break
        encoded, count = counts.most_common(1)[0]
        if count < needed:
            break
        constant.append(msgspec.json.decode(encoded))
        current = [
            row for row in current if len(row) > place + 1 and _encode(row[place]) == encoded
        ]
    texts = [_text_at(row, len(constant)) for row in current]
    return PrefixRule(tuple(constant), _common(sorted(t for t in texts if t is not None), needed))


def find_prefixes(rows: Mapping[str, Sequence[Sequence[Json]]]) -> dict[str, PrefixRule]:
    """A rule a route, where there is one."""
    found = {route: find_prefix(messages) for route, messages in rows.items()}
    return {route: rule for route, rule in found.items() if not rule.is_empty}


def _text_at(row: Sequence[Json], place: int) -> str | None:
    content = row[place].get("content") if len(row) > place else None
    return content if isinstance(content, str) else None


def _common(ordered: Sequence[str], needed: float) -> str:
    """The longest beginning that `needed` of sorted texts share, up to the end of a word.

    Texts that share a beginning stand side by side, so it is looked for in windows of that size.
    """
    size = int(-(-needed // 1))
    best = ""
    for start in range(len(ordered) - size + 1):
        shared = _shared(ordered[start], ordered[start + size - 1])
        best = max(best, shared, key=len)
    cut = max(best.rfind(" "), best.rfind("\n")) + 1
    return best[:cut] if cut >= TEXT_CHARS_MIN else ""


def _shared(first: str, second: str) -> str:
    length = min(len(first), len(second))
    for index in range(length):
        if first[index] != second[index]:
            return first[:index]
    return first[:length]
