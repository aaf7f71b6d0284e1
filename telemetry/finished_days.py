"""Indexes that a day gets once it is over.

Keys without order (hashes, users) put every new row on an index page of its own: by 200,000 rows
a record cost 55 us to fold instead of 31. Built at once from a finished day
they cost about 1 us a record. Nothing we ask of the running day needs them.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from .logs import log
from .store import day_at, day_files, open_for_writing

GRACE_S: Final = 3600.0
"""After midnight UTC: long answers that began the day before are folded late."""

INDEXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "requests_input": "requests(input_hash) where input_hash is not null",
        "requests_conv": "requests(conversation_id, ts_us) where conversation_id is not null",
        "requests_user": "requests(user_tag) where user_tag is not null",
    }
)


class DayFinisher:
    """Finds days that are over and gives them their indexes, one a call, in any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._finished: set[Path] = set()
        self._connection: sqlite3.Connection | None = None
        self._is_interrupted = False

    def finish_one(self, now_s: float) -> Path | None:
        """Index the oldest day that is over and not indexed; which it was.

        One that cannot be indexed now (busy, a full disk, interrupted) is tried again by the
        next process: nothing is lost without, only looked up more slowly.
        """
        for path in self._over(now_s):
            self._finished.add(path)
            try:
                if self._finish(path):
                    return path
            except sqlite3.Error as error:
                log("day_not_indexed", level="warning", file=path.name, error=str(error))
        return None

    def interrupt(self) -> None:
        """End it soon, from another thread."""
        self._is_interrupted = True
        connection = self._connection
        if connection is not None:
            with suppress(sqlite3.ProgrammingError):  # closed this very moment
                connection.interrupt()

    def _finish(self, path: Path) -> bool:
        with closing(open_for_writing(path, "capture")) as connection:
            self._connection = connection
            try:
                return not self._is_interrupted and finish(connection)
            finally:
                self._connection = None

    def _over(self, now_s: float) -> Iterator[Path]:
        today = day_at(int(now_s - GRACE_S))
        for day, path in day_files(self._directory):
            if day < today and path not in self._finished:
                yield path


def finish(connection: sqlite3.Connection) -> bool:
    """Make the indexes a day's file lacks; whether there were any."""
    present = {name for (name,) in connection.execute("select name from sqlite_master")}
    missing = [name for name in INDEXES if name not in present]
    for name in missing:
        connection.execute(f"create index if not exists {name} on {INDEXES[name]}")
    return bool(missing)
