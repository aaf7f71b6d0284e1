"""The files of the store: their names, and how they are opened.

    DIRECTORY/                    0700
      capture-2026-10-11.db       one UTC day of requests, by the id's own time
      learning.db                 what outlives a day
      journal/*.seg               not yet folded
      fold.lock, serve.lock

Only the holder of the fold lock writes; everybody else opens read-only. WAL lets both go on at
once; `synchronous=FULL` makes a commit the moment after which a segment may go.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from .ids import milliseconds_of
from .migrations import StoreKind, migrate

DAMAGED_SUFFIX: Final = ".damaged"
"""Of segments and day files that were set aside; nothing reads them, `verify` tells of them."""

LEARNING_FILE: Final = "learning.db"
DAY_S: Final = 86_400
BUSY_S: Final = 10.0
SIDE_SUFFIXES: Final = ("-wal", "-shm")
STATEMENTS_MAX: Final = 256  # one a set of columns that are not null, see bulk_insert
CACHE_KIB: Final = 16 * 1024
PAGE_BYTES: Final = {"capture": 16_384, "learning": 4096}
"""Days hold bodies of some KB (16 KiB: 31.0 us a record, 8: 32.5, 4: 34.7); the other file has
many small tables."""
CHECKPOINT_PAGES: Final = 2000  # 32 MB of log: pages written often are copied once
_DAY_FILE: Final = re.compile(r"capture-(\d{4}-\d{2}-\d{2})\.db")


def prepare_directory(directory: Path) -> None:
    """Make the directory, closed to others; one that exists is left as it is."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def day_of(identifier: str, ts_us: int) -> str:
    """`YYYY-MM-DD` (UTC) of an id, or of `ts_us` where the id tells no time."""
    if len(identifier) == 36 and identifier[8] == "-" and identifier[14] == "7":
        day = _day_of_minute(identifier[:8])
        if day is not None:
            return day
    milliseconds = milliseconds_of(identifier)
    return day_at(ts_us // 1_000_000 if milliseconds is None else milliseconds // 1000)


def day_at(moment_s: int) -> str:
    """`YYYY-MM-DD` (UTC) of seconds since the epoch."""
    return _day_name(moment_s // DAY_S)


@lru_cache(maxsize=64)
def _day_of_minute(digits: str) -> str | None:
    """The day of the 65.5 s that all ids beginning with these 8 digits are from, if it is one."""
    try:
        start_ms = int(digits, 16) << 16
        first, last = day_at(start_ms // 1000), day_at((start_ms + 0xFFFF) // 1000)
    except (ValueError, OverflowError):
        return None
    return first if first == last else None


@lru_cache(maxsize=64)
def _day_name(number: int) -> str:
    return datetime.fromtimestamp(number * DAY_S, UTC).strftime("%Y-%m-%d")


def day_path(directory: Path, day: str) -> Path:
    """The file of one day."""
    return directory / f"capture-{day}.db"


def days(directory: Path) -> list[str]:
    """The days there are files of, oldest first."""
    if not directory.is_dir():
        return []
    matches = (_DAY_FILE.fullmatch(path.name) for path in directory.iterdir())
    return sorted(match[1] for match in matches if match is not None)


def open_for_writing(path: Path, kind: StoreKind) -> sqlite3.Connection:
    """A connection in autocommit, its schema up to date, its file closed to others."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS_MAX,
    )
    try:
        for pragma in (
            f"page_size = {PAGE_BYTES[kind]}",  # takes effect on a new file only
            "journal_mode = wal",
            "synchronous = full",
            "secure_delete = on",
            f"cache_size = -{CACHE_KIB}",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        ):
            connection.execute(f"pragma {pragma}").fetchall()
        migrate(connection, kind, str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A read-only connection with rows by name."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None
    )
    connection.row_factory = sqlite3.Row
    return connection


def set_aside(path: Path) -> None:
    """Rename a database that cannot be used, with its side files."""
    for suffix in ("", *SIDE_SUFFIXES):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.rename(file.with_name(file.name + DAMAGED_SUFFIX))


def has_schema(path: Path) -> bool:
    """The file is there and its tables are made: false for a moment when a day begins.

    Raises sqlite3.DatabaseError for a file that is no database.
    """
    if not path.exists():
        return False
    connection = open_for_reading(path)
    try:
        (version,) = connection.execute("pragma user_version").fetchone()
    finally:
        connection.close()
    return bool(version)


def day_files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Days and their files, oldest first."""
    for day in days(directory):
        yield day, day_path(directory, day)
