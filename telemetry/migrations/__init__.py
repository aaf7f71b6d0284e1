"""Numbered schema changes: `NNNN_name.sql`, applied once and in order, never edited afterwards.

The number of the last one applied is SQLite's `user_version`, so a file tells its own schema
to any tool. One change is one transaction: a crash in the middle leaves the schema before it.
"""

import sqlite3
from pathlib import Path
from typing import Literal, NamedTuple

from telemetry.errors import StoreError, StoreTooNew

StoreKind = Literal["capture", "learning"]

SQLITE_VERSION_MIN = (3, 37, 0)  # STRICT tables

_FOLDER = Path(__file__).parent


class Migration(NamedTuple):
    """One step; `number` is the schema version it leads to."""

    number: int
    name: str
    sql: str


def migrations(kind: StoreKind) -> list[Migration]:
    """All steps of one kind of file, in order."""
    found = []
    for path in sorted((_FOLDER / kind).glob("*.sql")):
        number, _, name = path.stem.partition("_")
        found.append(Migration(int(number), name, path.read_text(encoding="utf-8")))
    return found


def migrate(connection: sqlite3.Connection, kind: StoreKind, file: str) -> int:
    """Bring `file`'s schema up to date; the version it then has.

    Raises StoreTooNew where a later version of this program wrote it.
    """
    if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or newer is needed")
    (version,) = connection.execute("pragma user_version").fetchone()
    steps = migrations(kind)
    if version > steps[-1].number:
        raise StoreTooNew(f"{file} has schema {version}, this program knows {steps[-1].number}")
    for step in steps:
        if step.number > version:
            connection.executescript(
                f"begin immediate;\n{step.sql}\npragma user_version = {step.number};\ncommit;"
            )
    return steps[-1].number
