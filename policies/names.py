"""The names a policy file may use, and decoders that refuse all others."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import msgspec

from pointsman.decoding import Findings, Section, choice, nearest, text
from pointsman.document import Node

from .facts import BackendFacts
from .words import Check

W = TypeVar("W", bound=str)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
"""What may name a route: it stands in headers, metrics and file names."""


class Names(msgspec.Struct, frozen=True):
    """What the other sections define, and where findings go."""

    backends: Mapping[str, BackendFacts]
    checks: Mapping[str, Check]
    findings: Findings

    def backend(self, node: Node) -> str:
        """The name of a backend that exists."""
        name = text(node)
        if name not in self.backends:
            raise ValueError(f"no backend {name!r}{nearest(name, sorted(self.backends))}")
        return name

    def check(self, node: Node) -> str:
        """The name of a check that exists."""
        name = text(node)
        if name not in self.checks:
            raise ValueError(f"no check {name!r}{nearest(name, sorted(self.checks))}")
        return name


def one_of(words: tuple[W, ...]) -> Callable[[Node], W]:
    """A decoder of one of `words`, keeping their literal type."""
    check = choice(*words)

    def decode(node: Node) -> W:
        return words[words.index(cast("W", check(node)))]

    return decode


def read_list(section: Section, key: str, decode: Callable[[Node], str]) -> tuple[str, ...]:
    """A list of names, each at most once; one name may stand without brackets."""
    names = section.each(key, decode)
    for name, count in Counter(names).items():
        if count > 1:
            section.findings.error(section.at_key(key), f"{key}: {name!r} is listed {count} times")
    return names


def require_some(section: Section, key: str, names: tuple[str, ...]) -> None:
    """Report an empty list; faulty items were reported already."""
    node = section.node(key)
    if node is not None and not names and not getattr(node, "items", ()):
        section.findings.error(node.at, f"{key}: the list is empty")
