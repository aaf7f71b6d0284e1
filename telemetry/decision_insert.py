"""The candidates of many decisions into `decisions`, for less than a row each costs.

Three rows of 15 columns a request were the dearest part of the fold (4.5 us), though most of a
batch say the same but for whose they are. What occurs more than once in a batch is written to
two temporary tables, and SQLite copies it for each request (1.6 us). What occurs once goes row
by row. The temporary tables are in memory, and empty again with the next batch.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from .bulk_insert import insert_rows, insert_statement
from .rows import DECISION_COLUMNS, Row

_SHARED: Final = DECISION_COLUMNS[1:]

_TABLES: Final = (
    "pragma temp_store = memory",
    f"create temp table if not exists shared(number int, {','.join(_SHARED)},"
    " primary key(number, rank)) without rowid",
    "create temp table if not exists sharers(seq integer primary key, number int)",
)
_ADD_SHARED: Final = insert_statement("shared", ("number", *_SHARED))
_COPY: Final = (
    f"insert into decisions({','.join(DECISION_COLUMNS)})"
    f" select sharers.seq, {','.join(_SHARED)} from sharers cross join shared"
    " where shared.number = sharers.number order by 1, shared.rank"
)


class Decided(NamedTuple):
    """One request's candidates; `rows` is one object for all that have the same ones."""

    seq: int
    rows: tuple[Row, ...]
    """As `decision_rows` makes them, without their first column."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make the temporary tables; once a connection."""
    for sql in _TABLES:
        connection.execute(sql)


def insert_decisions(connection: sqlite3.Connection, decided: Sequence[Decided]) -> None:
    """Insert them all; inside a transaction, which takes the temporary rows along."""
    counts = Counter([id(one.rows) for one in decided])
    single: list[Row] = []
    sharers: list[Row] = []
    numbers: dict[int, int] = {}
    shared: list[Row] = []
    for seq, rows in decided:
        key = id(rows)
        if counts[key] == 1:
            single += [(seq, *row) for row in rows]
            continue
        number = numbers.get(key)
        if number is None:
            number = numbers[key] = len(numbers)
            shared += [(number, *row) for row in rows]
        sharers.append((seq, number))
    insert_rows(connection, "decisions", DECISION_COLUMNS, single)
    if sharers:
        _copy(connection, shared, sharers)


def _copy(connection: sqlite3.Connection, shared: Sequence[Row], sharers: Sequence[Row]) -> None:
    connection.execute("delete from shared")
    connection.execute("delete from sharers")
    connection.executemany(_ADD_SHARED, shared)
    connection.executemany("insert into sharers(seq, number) values (?,?)", sharers)
    connection.execute(_COPY)
