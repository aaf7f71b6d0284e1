"""From nodes to typed values, collecting every finding instead of stopping at the first.

A room decodes its section with a `Section`: ask for each key by its type, then call `done()`,
which reports whatever was not asked for with the nearest known word. A value that cannot be
read is reported and replaced by the default, so one run names all faults of a file.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, overload

from pointsman import units
from pointsman.document import ListNode, MapNode, Node, Position, ScalarNode
from pointsman.errors import ConfigError, Problem

T = TypeVar("T")
D = TypeVar("D")


class Findings:
    """What is wrong (errors) and what is odd (warnings) in one file, in the order found."""

    def __init__(self) -> None:
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def error(self, at: Position, message: str) -> None:
        """The file cannot be used."""
        self.errors.append(at.problem(message))

    def warn(self, at: Position, message: str) -> None:
        """The file can be used; the operator should know."""
        self.warnings.append(at.problem(message))

    def raise_if_any(self) -> None:
        """Raise ConfigError if any error was found."""
        if self.errors:
            raise ConfigError(self.errors)


def nearest(word: str, known: Sequence[str]) -> str:
    """` (did you mean 'candidates'?)`, or the known words, or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    if 0 < len(known) <= 12:
        return f"; known: {', '.join(sorted(known))}"
    return ""


def describe(node: Node) -> str:
    """A node's kind and value, for messages."""
    if isinstance(node, MapNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list"
    return "nothing" if node.value is None else repr(node.text)


class Section:
    """One mapping of the file. `what` names it in messages, as in `route 'extract'`."""

    def __init__(self, node: Node, findings: Findings, what: str) -> None:
        self.at = node.at
        self.what = what
        self.findings = findings
        self._asked: set[str] = set()
        if isinstance(node, MapNode):
            self._node = node
        else:
            findings.error(node.at, f"{what} must be a mapping, not {describe(node)}")
            self._node = MapNode(node.at)

    def __contains__(self, key: str) -> bool:
        return key in self._node.items

    def __iter__(self) -> Iterator[str]:
        """All keys, in file order; marks none of them as known."""
        return iter(self._node.items)

    def at_key(self, key: str) -> Position:
        """Where `key` stands, or the section itself where it is missing."""
        return self._node.keys.get(key, self.at)

    def node(self, key: str) -> Node | None:
        """The raw node, for what another decoder reads; marks the key as known."""
        self._asked.add(key)
        return self._node.items.get(key)

    def require(self, *keys: str) -> None:
        """Report each of `keys` that is missing."""
        for key in keys:
            if key not in self._node.items:
                self.findings.error(self.at, f"{self.what} needs {key!r}")

    def keys(self) -> list[str]:
        """All keys, in file order; marks none of them as known."""
        return list(self._node.items)

    def subsection(self, key: str, what: str | None = None) -> "Section | None":
        """A nested mapping, or None where the key is missing."""
        node = self.node(key)
        return None if node is None else Section(node, self.findings, what or f"{self.what}: {key}")

    # -- scalars ---------------------------------------------------------------------------

    @overload
    def read(self, key: str, decode: Callable[[Node], T]) -> T | None: ...
    @overload
    def read(self, key: str, decode: Callable[[Node], T], default: D) -> T | D: ...
    def read(self, key: str, decode: Callable[[Node], T], default: D | None = None) -> T | D | None:
        """Decode `key` with `decode`; a ValueError becomes an error at the value's position."""
        node = self.node(key)
        if node is None:
            return default
        try:
            return decode(node)
        except ValueError as error:
            self.findings.error(node.at, f"{key}: {error}")
            return default

    def each(self, key: str, decode: Callable[[Node], T]) -> tuple[T, ...]:
        """Decode a list (a single scalar counts as a list of one); empty where missing."""
        node = self.node(key)
        if node is None:
            return ()
        items = node.items if isinstance(node, ListNode) else (node,)
        result = []
        for item in items:
            try:
                result.append(decode(item))
            except ValueError as error:
                self.findings.error(item.at, f"{key}: {error}")
        return tuple(result)

    def done(self) -> None:
        """Report every key nobody asked for, with the nearest known word."""
        for key, at in self._node.keys.items():
            if key not in self._asked:
                hint = nearest(key, sorted(self._asked))
                self.findings.error(at, f"unknown key {key!r} in {self.what}{hint}")


# -- decoders of one node: raise ValueError with what is accepted --------------------------------


def text(node: Node) -> str:
    """Any scalar, as written."""
    if not isinstance(node, ScalarNode) or node.value is None:
        raise ValueError(f"expected text, not {describe(node)}")
    return node.text


def boolean(node: Node) -> bool:
    """`true` or `false`."""
    if isinstance(node, ScalarNode) and isinstance(node.value, bool):
        return node.value
    raise ValueError(f"expected true or false, not {describe(node)}")


def number(minimum: float | None = None, maximum: float | None = None) -> Callable[[Node], float]:
    """A number within inclusive bounds."""

    def decode(node: Node) -> float:
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"expected a number, not {describe(node)}")
        _check_bounds(value, minimum, maximum)
        return float(value)

    return decode


def integer(minimum: int | None = None, maximum: int | None = None) -> Callable[[Node], int]:
    """A whole number within inclusive bounds."""

    def decode(node: Node) -> int:
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"expected a whole number, not {describe(node)}")
        _check_bounds(value, minimum, maximum)
        return value

    return decode


def choice(*words: str) -> Callable[[Node], str]:
    """One of `words`."""

    def decode(node: Node) -> str:
        word = text(node)
        if word not in words:
            raise ValueError(f"{word!r} is not one of {', '.join(words)}{_close(word, words)}")
        return word

    return decode


def duration_s(node: Node) -> float:
    """`200ms` -> 0.2."""
    return units.duration_s(text(node))


def money_usd(node: Node) -> float:
    """`$0.004` -> 0.004."""
    return units.money_usd(text(node))


def share(node: Node) -> float:
    """`5%` -> 0.05."""
    return units.share(text(node))


def change(node: Node) -> float:
    """`+0.5pp` -> 0.005."""
    return units.change(text(node))


def size_bytes(node: Node) -> int:
    """`20MiB` -> 20971520."""
    return units.size_bytes(text(node))


def plain(node: Node) -> object:
    """A node as plain Python data (dict, list, scalar): for JSON schemas and profiles."""
    if isinstance(node, MapNode):
        return {key: plain(value) for key, value in node.items.items()}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return node.value


def _close(word: str, words: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _check_bounds(value: float, minimum: float | None, maximum: float | None) -> None:
    if minimum is not None and value < minimum:
        raise ValueError(f"{value:g} is below {minimum:g}")
    if maximum is not None and value > maximum:
        raise ValueError(f"{value:g} is above {maximum:g}")
