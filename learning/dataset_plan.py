"""What a build is about to read: ranges of captures, and what is constant in them.

One look at the captures' ids, in their order, without their bodies.
"""

import heapq
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from telemetry.redaction import RedactionRefused, Redactor
from telemetry.store import open_for_reading

from .captured import (
    FIRST,
    Place,
    Selection,
    captured_by_id,
    report_damage,
    run_selection,
    selected_files,
)
from .chat_row import Excluded, context_messages
from .constant_prefix import PrefixRule, find_prefixes
from .dataset_scan import Shard
from .dataset_spec import DatasetSpec
from .example import Json

SHARD_ROWS: Final = 10_000
PREFIX_SAMPLE: Final = 2000

_decode = msgspec.json.Decoder(Json).decode


class Plan:
    """Ranges, in the captures' order, and what was seen on the way."""

    def __init__(self, directory: Path, selection: Selection) -> None:
        self._directory = directory
        self._selection = selection
        self.shards: list[Shard] = []
        self.policies: dict[str, str] = {}
        """The newest policy that each route was served by."""
        self.rows = 0
        self.damaged = 0
        """Captures that cannot be reached in a damaged file; one where nothing tells how many."""
        self.damaged_files: list[str] = []

    def look(self) -> list[str]:
        """Go through the ids; returns a sample of them that is the same every time."""
        drawn = heapq.nsmallest(PREFIX_SAMPLE, self._lots())
        return [identifier for _, identifier in drawn]

    def _lots(self) -> Iterator[tuple[str, str]]:
        """Ids behind their last digits, which are chance (UUIDv7)."""
        for path in selected_files(self._directory, self._selection, self._damaged):
            before = self.rows
            try:
                for identifier in self._ids(path):
                    yield identifier[24:], identifier
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                report_damage(path, error)
                self._damaged(path, _count(path, self._selection) - (self.rows - before))

    def _damaged(self, path: Path, rows: int = 0) -> None:
        self.damaged += max(1, rows)
        self.damaged_files.append(path.name)

    def _ids(self, path: Path) -> Iterator[str]:
        """Of one day; a range ends after each SHARD_ROWS, and where no more can be read."""
        condition, values = self._selection.clause()
        sql = (
            f"select r.ts_us, r.seq, r.id, r.route, r.policy from requests r where {condition}"
            " order by r.ts_us, r.seq"
        )
        after = last = FIRST
        rows = 0
        try:
            with closing(open_for_reading(path)) as connection:
                connection.row_factory = None
                for ts_us, seq, identifier, route, policy in run_selection(
                    connection, sql, values, self._selection
                ):
                    if rows == SHARD_ROWS:
                        self._add(path, after, last, rows)
                        after, rows = last, 0
                    last = Place(ts_us, seq)
                    rows += 1
                    if policy is not None:
                        self.policies[route or ""] = policy
                    yield identifier
        finally:
            if rows:
                self._add(path, after, last, rows)

    def _add(self, path: Path, after: Place, last: Place, rows: int) -> None:
        self.shards.append(Shard(len(self.shards), str(path), after, last, rows))
        self.rows += rows


def prefixes_of(directory: Path, sample: list[str], spec: DatasetSpec) -> dict[str, PrefixRule]:
    """What the prompts of each route begin with, by a sample of the captures."""
    by_route: dict[str, list[list[Json]]] = {}
    for row in captured_by_id(directory, sample):
        try:
            messages = context_messages(_decode(row.request or b""))
            if spec.redact:
                messages = Redactor().value(messages)  # type: ignore[assignment]
        except (Excluded, RedactionRefused, msgspec.DecodeError, UnicodeDecodeError,
                RecursionError):  # fmt: skip
            continue
        by_route.setdefault(str(row.route), []).append(messages)
    return find_prefixes(by_route)


def _count(path: Path, selection: Selection) -> int:
    """How many rows a damaged file's smallest index still tells of; 0 where it tells nothing."""
    condition, values = selection.clause()
    try:
        with closing(open_for_reading(path)) as connection:
            sql = f"select count(*) from requests r where {condition}"
            return int(connection.execute(sql, values).fetchone()[0])
    except sqlite3.DatabaseError:
        return 0
