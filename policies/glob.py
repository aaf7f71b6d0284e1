"""Globs of model names and labels: `*` is any run of characters, `?` any one; nothing else.

`covers` decides whether one pattern takes everything another takes. It is exact: the patterns
are run as automata over every character either names, and one that neither does.
"""

import fnmatch
import re
from functools import reduce

_OTHER = "\0"  # stands for every character that neither pattern names
_WILD = frozenset("*?")
STATES_MAX = 10_000
"""Patterns such as `*a????????????` make an automaton explode; beyond this, "no" is the answer."""


def is_literal(pattern: str) -> bool:
    """Whether the pattern is a plain name."""
    return _WILD.isdisjoint(pattern)


def compile_glob(pattern: str) -> re.Pattern[str]:
    """A pattern for `fullmatch`; case counts.

    fnmatch writes atomic groups, so a name from a client costs time in proportion to its length
    however many stars there are. Its character classes are not part of this language.
    """
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))


def fits(pattern: str, name: str) -> bool:
    """Whether `name` is one of the pattern's; off the hot path."""
    return pattern == name or (
        not is_literal(pattern) and bool(compile_glob(pattern).fullmatch(name))
    )


def literal_prefix(pattern: str) -> str:
    """What every name of the pattern begins with."""
    return re.split(r"[*?]", pattern, maxsplit=1)[0]


def example(pattern: str) -> str:
    """The shortest name a pattern takes, `x` for every `?`."""
    return pattern.replace("*", "").replace("?", "x")


def covers(wide: str, narrow: str) -> bool:
    """Whether `wide` fits every name that `narrow` fits; False where that is too hard to tell."""
    if wide in ("*", narrow):
        return True
    if is_literal(wide):
        return False
    if is_literal(narrow):
        return fits(wide, narrow)
    return _language_covers(wide, narrow)


def _language_covers(wide: str, narrow: str) -> bool:
    """Walk both automata together: no state may accept for `narrow` and not for `wide`."""
    alphabet = (set(wide) | set(narrow)) - _WILD | {_OTHER}
    start = (_closure(narrow, frozenset({0})), _closure(wide, frozenset({0})))
    seen = {start}
    pending = [start]
    while pending:
        inner, outer = pending.pop()
        if len(narrow) in inner and len(wide) not in outer:
            return False
        if len(seen) > STATES_MAX:
            return False
        for character in alphabet:
            after = (_step(narrow, inner, character), _step(wide, outer, character))
            if after[0] and after not in seen:
                seen.add(after)
                pending.append(after)
    return True


def _step(pattern: str, states: frozenset[int], character: str) -> frozenset[int]:
    """The states after one character."""
    moved = [
        at if pattern[at] == "*" else at + 1
        for at in states
        if at < len(pattern) and pattern[at] in ("*", "?", character)
    ]
    return _closure(pattern, frozenset(moved))


def _closure(pattern: str, states: frozenset[int]) -> frozenset[int]:
    """With every state reached by letting a `*` stand for nothing."""
    return reduce(lambda found, at: found | _skipped(pattern, at), states, states)


def _skipped(pattern: str, at: int) -> frozenset[int]:
    end = at
    while end < len(pattern) and pattern[end] == "*":
        end += 1
    return frozenset(range(at, end + 1))
