"""Which route takes a request: an index over the matches, built once.

A model that some route names literally is one dictionary look-up away from the short list of
routes that could take it, and labels are looked up by the word they must equal or begin with;
only patterns that begin with a star are tried one after the other. With 500 routes the usual
request costs what it does with one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from .glob import compile_glob, covers, is_literal, literal_prefix
from .words import Match

LabelTest = tuple[str, frozenset[str], tuple[re.Pattern[str], ...]]


class MatchEntry:
    """One route's match, ready to be tried. `order` is its place in the file."""

    __slots__ = ("_tests", "literals", "match", "name", "order", "patterns")

    def __init__(self, order: int, name: str, match: Match) -> None:
        self.order = order
        self.name = name
        self.match = match
        self.literals = frozenset(filter(is_literal, match.models))
        self.patterns = tuple(
            compile_glob(model) for model in match.models if not is_literal(model)
        )
        self._tests = tuple(_label_test(label, values) for label, values in match.labels)

    def __repr__(self) -> str:
        return f"MatchEntry({self.order}, {self.name!r})"

    def fits_model(self, model: str) -> bool:
        """Whether the match takes this model name, whatever the labels."""
        if not self.match.models or model in self.literals:
            return True
        return any(pattern.fullmatch(model) for pattern in self.patterns)

    def fits_labels(self, labels: Mapping[str, str]) -> bool:
        """Whether every label the match asks for is there and fits."""
        for name, literals, patterns in self._tests:
            value = labels.get(name)
            if value is None:
                return False
            if value not in literals and not any(p.fullmatch(value) for p in patterns):
                return False
        return True

    def label_keys(self) -> list[tuple[str, str]]:
        """(label, beginning of its value) pairs of which a fitting request has one.

        From the first label all of whose patterns begin with something; empty where none does.
        """
        for name, values in self.match.labels:
            beginnings = sorted({literal_prefix(value) for value in values})
            if all(beginnings):
                return [(name, beginning) for beginning in beginnings]
        return []


class LabelIndex:
    """The routes that could take one model name, first in the file first.

    Routes are kept under the words or beginnings that a label's value must have; a request
    looks up its values and their beginnings of the lengths that occur.
    """

    __slots__ = ("_keyed", "_lengths", "_scanned")

    def __init__(self, entries: Iterable[MatchEntry]) -> None:
        self._keyed: dict[tuple[str, str], list[MatchEntry]] = {}
        self._lengths: dict[str, list[int]] = {}
        self._scanned: list[MatchEntry] = []
        for entry in entries:
            keys = entry.label_keys()
            if not keys:
                self._scanned.append(entry)
            for name, beginning in keys:
                self._keyed.setdefault((name, beginning), []).append(entry)
                lengths = self._lengths.setdefault(name, [])
                if len(beginning) not in lengths:
                    lengths.append(len(beginning))

    def first(self, labels: Mapping[str, str]) -> MatchEntry | None:
        """The first entry whose labels fit."""
        best = self._first_keyed(labels) if labels and self._keyed else None
        for entry in self._scanned:
            if best is not None and best.order < entry.order:
                break
            if entry.fits_labels(labels):
                return entry
        return best

    def _first_keyed(self, labels: Mapping[str, str]) -> MatchEntry | None:
        best: MatchEntry | None = None
        for name, value in labels.items():
            for length in self._lengths.get(name, ()):
                for entry in self._keyed.get((name, value[:length]), ()):
                    if best is not None and best.order < entry.order:
                        break
                    if entry.fits_labels(labels):
                        best = entry
                        break
        return best


class ModelIndex:
    """From a model name to the routes that could take it."""

    __slots__ = ("_by_model", "_open", "literals")

    def __init__(self, entries: Sequence[MatchEntry], names: Iterable[str]) -> None:
        """`names` are indexed besides those that stand literally in a match."""
        self.literals = frozenset(name for entry in entries for name in entry.literals)
        self._open = tuple(entry for entry in entries if entry.patterns or not entry.match.models)
        entries_of: dict[str, list[MatchEntry]] = {name: [] for name in (*names, *self.literals)}
        for entry in entries:
            for name in entry.literals:
                entries_of[name].append(entry)
        self._by_model = {
            name: LabelIndex(_in_order(found, self._open_to(name)))
            for name, found in entries_of.items()
        }

    def first(self, model: str, labels: Mapping[str, str]) -> MatchEntry | None:
        """The first route in the file whose whole match fits."""
        index = self._by_model.get(model)
        if index is not None:
            return index.first(labels)
        for entry in self._open:
            if entry.fits_model(model) and entry.fits_labels(labels):
                return entry
        return None

    def is_known(self, model: str) -> bool:
        """Whether the name was indexed or fits a pattern of some match."""
        if model in self._by_model:
            return True
        return any(p.fullmatch(model) for entry in self._open for p in entry.patterns)

    def _open_to(self, model: str) -> list[MatchEntry]:
        return [entry for entry in self._open if entry.fits_model(model)]


def covering(earlier: Sequence[tuple[str, Match]], later: Match) -> list[str] | None:
    """The earlier routes that leave nothing to `later`, or None where something is left."""
    by: list[str] = []
    for model in later.models or ("*",):
        taker = next((name for name, match in earlier if _covers_model(match, model, later)), None)
        if taker is None:
            return None
        if taker not in by:
            by.append(taker)
    return by


def _covers_model(match: Match, model: str, later: Match) -> bool:
    """Whether `match` takes every request that fits `later` and asks for `model`."""
    labels = dict(later.labels)
    if any(name not in labels for name, _ in match.labels):
        return False
    if match.models and not _any_covers(match.models, model):
        return False
    return all(
        all(_any_covers(values, value) for value in labels[name]) for name, values in match.labels
    )


def _any_covers(patterns: tuple[str, ...], narrow: str) -> bool:
    return narrow in patterns or any(
        not is_literal(pattern) and covers(pattern, narrow) for pattern in patterns
    )


def _in_order(one: list[MatchEntry], other: list[MatchEntry]) -> list[MatchEntry]:
    return sorted({*one, *other}, key=lambda entry: entry.order)


def _label_test(name: str, values: tuple[str, ...]) -> LabelTest:
    literals = frozenset(filter(is_literal, values))
    return name, literals, tuple(compile_glob(v) for v in values if not is_literal(v))
