"""`learning.db` as the loop's commands write it: labels, benchmarks, data sets, models.

The fold writes to the same file, so every transaction here is short: the fold waits at most
BUSY_S for one. What takes many rows is written in pieces, the row that makes it count last.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from telemetry.store import LEARNING_FILE, has_schema, open_for_writing, prepare_directory

PIECE_ROWS: Final = 5000

Values = Sequence[object]


class Ledger:
    """An open `learning.db`; a context manager. For one thread."""

    def __init__(self, directory: Path) -> None:
        prepare_directory(directory)
        self.path = directory / LEARNING_FILE
        self._connection = open_for_writing(self.path, "learning")
        self._connection.row_factory = sqlite3.Row

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def rows(self, sql: str, values: Values = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Values = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return found

    def each(self, sql: str, values: Values = ()) -> Iterator[sqlite3.Row]:
        """Rows of a query one by one; do not write meanwhile."""
        yield from self._connection.execute(sql, values)

    def run(self, sql: str, values: Values = ()) -> int:
        """One statement in a transaction of its own; how many rows it changed."""
        with self.transaction():
            return self.execute(sql, values)

    def execute(self, sql: str, values: Values = ()) -> int:
        """One statement; how many rows it changed."""
        return self._connection.execute(sql, values).rowcount

    def write_in_pieces(self, sql: str, rows: Iterable[Values]) -> int:
        """Many rows, PIECE_ROWS a transaction, so that nobody waits long; how many."""
        count = 0
        piece: list[Values] = []
        for row in rows:
            piece.append(row)
            if len(piece) >= PIECE_ROWS:
                count += self._write(sql, piece)
                piece = []
        return count + self._write(sql, piece)

    def _write(self, sql: str, piece: Sequence[Any]) -> int:
        if piece:
            with self.transaction():
                self._connection.executemany(sql, piece)
        return len(piece)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def has_ledger(directory: Path) -> bool:
    """Whether there is anything to read."""
    return has_schema(directory / LEARNING_FILE)


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000
