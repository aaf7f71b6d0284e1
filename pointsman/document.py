"""YAML text -> a tree of nodes that remember where they stand.

The scalars are those of YAML 1.2's core schema: only `true` and `false` are booleans, so
`off`, `NO` and `1:30` stay text. Duplicate keys, tags and unbounded input are refused; every
refusal has a position. PyYAML reads the text; nothing of its type guessing is used.
"""

import math
import re
from dataclasses import dataclass, field

import yaml

from pointsman.errors import ConfigError, Problem

TEXT_BYTES_MAX = 1 << 20  # a policy of 500 routes is about 200 KB
DEPTH_MAX = 32
NODES_MAX = 100_000  # aliases expand; this is what stops "a billion laughs"

Scalar = str | int | float | bool | None

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

# What PyYAML gives a node that has no tag of its own; the same tags spelt out are tolerated.
_TAGS_IMPLIED = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}


@dataclass(frozen=True, slots=True)
class Position:
    """Where something stands; `line` and `column` count from 1."""

    file: str
    line: int
    column: int

    def problem(self, message: str) -> Problem:
        """A finding at this place."""
        return Problem(self.file, self.line, self.column, message)


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """One value. `text` is as written; `value` is resolved by the core schema."""

    at: Position
    text: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class ListNode:
    """A sequence, in file order."""

    at: Position
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping, in file order; `keys` has the position of each key."""

    at: Position
    items: dict[str, "Node"] = field(default_factory=dict)
    keys: dict[str, Position] = field(default_factory=dict)


Node = ScalarNode | ListNode | MapNode


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner and parser, without its implicit resolvers (YAML 1.1's `yes`, `1:30`)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own class attribute)


def parse(text: str, file: str) -> Node:
    """Read one YAML document. Raises ConfigError with the position of the first fault."""
    start = Position(file, 1, 1)
    if len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        raise ConfigError([start.problem(f"the file is larger than {TEXT_BYTES_MAX} bytes")])
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Position(file, mark.line + 1, mark.column + 1) if mark else start
        what = ", ".join(filter(None, (error.context, error.problem)))
        if "<block end>" in what:
            what += "; is this line indented as its neighbours are?"
        raise ConfigError([at.problem(f"not valid YAML: {what}")]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        at = Position(file, line, 1)
        raise ConfigError([at.problem(f"not valid YAML: {error.reason}")]) from None
    except RecursionError:
        raise ConfigError([start.problem("nested too deeply")]) from None
    except ValueError as error:  # PyYAML's own, for "\\UFFFFFFFF" and the like; it has no position
        raise ConfigError([start.problem(f"not valid YAML: {error}")]) from None
    if root is None:
        raise ConfigError([start.problem("the file is empty")])
    return _Converter(file).convert(root, depth=0)


def resolve_scalar(text: str) -> Scalar:
    """A plain scalar's value under YAML 1.2's core schema."""
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text[0] in "tT"
    if _INTEGER.fullmatch(text) and len(text) < 20:
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):  # 1e999 is no number of ours
        return float(text)
    return text


class _Converter:
    """Turns PyYAML's nodes into ours, counting, and naming the first fault."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0

    def convert(self, node: yaml.Node, depth: int) -> Node:
        at = Position(self._file, node.start_mark.line + 1, node.start_mark.column + 1)
        self._count += 1
        if self._count > NODES_MAX:
            raise ConfigError([at.problem(f"more than {NODES_MAX} values (aliases count)")])
        if depth > DEPTH_MAX:
            raise ConfigError([at.problem(f"nested deeper than {DEPTH_MAX} levels")])
        if node.tag not in _TAGS_IMPLIED:
            raise ConfigError([at.problem(f"tags such as {node.tag} are not accepted")])
        if isinstance(node, yaml.ScalarNode):
            is_plain = node.style is None
            value = resolve_scalar(node.value) if is_plain else node.value
            return ScalarNode(at, node.value, value)
        if isinstance(node, yaml.SequenceNode):
            return ListNode(at, tuple(self.convert(item, depth + 1) for item in node.value))
        return self._map(node, at, depth)

    def _map(self, node: yaml.Node, at: Position, depth: int) -> MapNode:
        result = MapNode(at)
        for key_node, value_node in node.value:
            key_at = Position(
                self._file, key_node.start_mark.line + 1, key_node.start_mark.column + 1
            )
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _TAGS_IMPLIED:
                raise ConfigError([key_at.problem("a key must be plain text")])
            key = key_node.value
            if key in result.items:
                first = result.keys[key].line
                raise ConfigError(
                    [key_at.problem(f"{key!r} is given twice; first on line {first}")]
                )
            result.items[key] = self.convert(value_node, depth + 1)
            result.keys[key] = key_at
        return result
