"""Many rows into one table, for as little CPU as Python's sqlite3 allows.

Binding a None costs about 0.25 us, more than a short text, because sqlite3 looks for an adapter
first. So columns that are null, or have the schema's default, in every row of a batch are left
out: rows of `requests` (66 columns) cost 6.1 us instead of 9.3. Several rows to a statement were
tried and refused: wide rows get dearer, and narrow ones gain less than their grouping costs.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Literal

from .rows import Row, Value


def insert_rows(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    defaults: Mapping[str, Value] = MappingProxyType({}),
) -> None:
    """Insert `rows`, whose values stand in the order of `columns`.

    `defaults` are the schema's own: a column that has its default in every row is left out too.
    The first two columns, of at least two, always stay.
    """
    if not rows:
        return
    kept = _telling(columns, rows, defaults)
    statement = insert_statement(table, [columns[index] for index in kept])
    connection.executemany(statement, map(itemgetter(*kept), rows))


def insert_statement(
    table: str, columns: Sequence[str], *, known: Literal["fail", "ignore"] = "fail"
) -> str:
    """`insert into table(...) values (?, ...)`; `known` is what to do with a row that is there."""
    verb = "insert" if known == "fail" else "insert or ignore"
    return f"{verb} into {table}({','.join(columns)}) values ({','.join('?' * len(columns))})"


def _telling(
    columns: Sequence[str], rows: Sequence[Row], defaults: Mapping[str, Value]
) -> list[int]:
    """Columns that some row has another value in than the one it would get anyhow."""
    by_column = list(zip(*rows, strict=True))
    kept = [0, 1]
    for index, column in enumerate(columns[2:], start=2):
        default = defaults.get(column)
        if rows[0][index] != default or by_column[index].count(default) < len(rows):
            kept.append(index)
    return kept
