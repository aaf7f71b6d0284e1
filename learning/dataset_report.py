"""What a build tells of the version it made: counts for the card, the commands and the store."""

from typing import Final

import msgspec

EXAMPLES_MAX: Final = 5
"""Of what is left out, so many of each code are named; all of them in excluded.jsonl."""


class DatasetReport(msgspec.Struct):
    """What a version holds and what was left out."""

    id: str
    n_rows: int = 0
    content_sha256: str = ""
    spec_hash: str = ""
    captures: int = 0
    splits: dict[str, int] = {}
    label_sources: dict[str, int] = {}
    excluded: dict[str, int] = {}
    named: dict[str, list[str]] = {}
    """Of what is left out by its own fault, the first requests of each code."""
    masked: dict[str, int] = {}
    groups: int = 0
    naive_leaks: float = 0.0
    """Share of the test rows that would lie beside a train row after a split by row."""
    overlap: int = 0
    """Groups on two sides of the split; always 0, counted all the same."""
    tokens: dict[str, int] = {}
    are_tokens_estimated: bool = True
    tokens_pruned: int = 0
    rows_unpruned: int = 0
    prefixes: dict[str, dict[str, object]] = {}
    """What rows of a route were cut by; empty where nothing was to be cut."""
    classes: dict[str, int] = {}
    """The most frequent answers, where there are few."""
    is_new: bool = True
    """False: the newest version is the same, and none was made."""
