"""Captures as the loop reads them: streamed from the day files, with their bodies.

One statement fetches a page with everything that is needed of it; the connection lives for one
page, so a long read neither holds memory nor keeps the keeper from truncating its log. What is
wanted is said with filters or with a condition in SQL over the columns of `requests`.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from pointsman.errors import PointsmanError
from telemetry.logs import log
from telemetry.store import day_at, day_files, day_of, day_path, has_schema, open_for_reading

PAGE_ROWS: Final = 500
PAGE_BYTES: Final = 1 << 19  # a page ends early where its bodies are large

_COLUMNS: Final = (
    "r.seq, r.ts_us, r.id, r.api, r.status, r.complete, r.http_status, r.capture, r.route,"
    " r.backend, coalesce(r.model_reported, r.model_used), r.conversation_id, r.input_hash,"
    " r.task, r.source, r.policy, r.confidence, r.finish_reason, r.user_tag, r.caller,"
    " q.data, a.data, q.crc32c, a.crc32c"
)
_FROM: Final = (
    " from requests r left join bodies q on q.id = r.req_body and q.codec = 0"
    " left join bodies a on a.id = r.resp_body and a.codec = 0"
)


class BadSelection(PointsmanError):
    """The condition is no SQL over the columns of `requests`."""


class Captured(NamedTuple):
    """One capture; bodies are None where they were not kept."""

    seq: int
    ts_us: int
    id: str
    api: str
    status: str
    complete: int
    http_status: int | None
    capture: str | None
    route: str | None
    backend: str | None
    model: str | None
    conversation: str | None
    input_hash: bytes | None
    task: str | None
    source: str | None
    policy: str | None
    confidence: float | None
    finish_reason: str | None
    user: str | None
    caller: str | None
    request: bytes | None
    response: bytes | None
    request_crc32c: int | None = None
    """Of the bytes that were written; None: not known."""
    response_crc32c: int | None = None


class Place(NamedTuple):
    """Where in a day a row stands."""

    ts_us: int
    seq: int


FIRST: Final = Place(-1, -1)
LAST: Final = Place((1 << 63) - 1, 0)


class Selection(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which captures; None takes all. `where` is SQL over the columns of `requests`."""

    since_us: int | None = None
    until_us: int | None = None
    route: str | None = None
    backend: str | None = None
    source: str | None = None
    task: str | None = None
    where: str | None = None

    def clause(self) -> tuple[str, list[object]]:
        """A condition over `requests r` and its values."""
        conditions = ["1"]
        values: list[object] = []
        for condition, value in (
            ("r.ts_us >= ?", self.since_us),
            ("r.ts_us < ?", self.until_us),
            ("r.route = ?", self.route),
            ("r.backend = ?", self.backend),
            ("r.source = ?", self.source),
            ("r.task = ?", self.task),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if self.where is not None:
            conditions.append(f"({self.where}\n)")
        return " and ".join(conditions), values


EVERYTHING: Final = Selection()


def captured(directory: Path, selection: Selection = EVERYTHING) -> Iterator[Captured]:
    """Captures oldest first. Raises BadSelection."""
    for path in selected_files(directory, selection):
        try:
            yield from captured_of_day(path, selection)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:  # the rest of this day; others are whole
            report_damage(path, error)


def count_captured(directory: Path, selection: Selection = EVERYTHING) -> int:
    """How many there are. Raises BadSelection."""
    condition, values = selection.clause()
    total = 0
    for path in selected_files(directory, selection):
        with closing(open_for_reading(path)) as connection:
            sql = f"select count(*) from requests r where {condition}"
            ((number,),) = run_selection(connection, sql, values, selection)
            total += int(number)
    return total


def captured_ids(directory: Path, selection: Selection) -> Iterator[tuple[str, bytes | None]]:
    """Id and input hash of each, oldest first: for drawing a sample. Raises BadSelection."""
    condition, values = selection.clause()
    for path in selected_files(directory, selection):
        with closing(open_for_reading(path)) as connection:
            sql = f"select r.id, r.input_hash from requests r where {condition}"
            sql += " order by r.ts_us, r.seq"
            yield from run_selection(connection, sql, values, selection)


def captured_by_id(directory: Path, identifiers: Sequence[str]) -> Iterator[Captured]:
    """Those of `identifiers` that are still kept, in no particular order."""
    by_day: dict[str, list[str]] = {}
    for identifier in identifiers:
        by_day.setdefault(day_of(identifier, 0), []).append(identifier)
    for day, wanted in sorted(by_day.items()):
        path = day_path(directory, day)
        if is_readable(path):
            for start in range(0, len(wanted), PAGE_ROWS):
                yield from _with_ids(path, wanted[start : start + PAGE_ROWS])


def _with_ids(path: Path, identifiers: Sequence[str]) -> list[Captured]:
    marks = ",".join("?" * len(identifiers))
    with closing(open_for_reading(path)) as connection:
        connection.row_factory = None
        sql = f"select {_COLUMNS}{_FROM} where r.id in ({marks})"
        return [Captured(*row) for row in connection.execute(sql, identifiers)]


def captured_of_day(
    path: Path, selection: Selection, after: Place = FIRST, last: Place = LAST
) -> Iterator[Captured]:
    """Those of one day file behind one place and up to another, oldest first.

    Raises BadSelection, sqlite3.DatabaseError where the file is damaged.
    """
    condition, values = selection.clause()
    sql = (
        f"select {_COLUMNS}{_FROM} where {condition} and (r.ts_us, r.seq) > (?, ?)"
        f" and (r.ts_us, r.seq) <= (?, ?) order by r.ts_us, r.seq limit {PAGE_ROWS}"
    )
    while True:
        rows, is_last = _page(path, sql, (*values, *after, *last), selection)
        yield from rows
        if is_last:
            return
        after = Place(rows[-1].ts_us, rows[-1].seq)


def _page(
    path: Path, sql: str, values: Sequence[object], selection: Selection
) -> tuple[list[Captured], bool]:
    """Some rows, and whether they are the last."""
    rows: list[Captured] = []
    size = 0
    with closing(open_for_reading(path)) as connection:
        connection.row_factory = None
        for found in run_selection(connection, sql, values, selection):
            row = Captured(*found)
            rows.append(row)
            size += len(row.request or b"") + len(row.response or b"")
            if size > PAGE_BYTES:
                return rows, False
    return rows, len(rows) < PAGE_ROWS


def run_selection(
    connection: sqlite3.Connection, sql: str, values: Sequence[object], selection: Selection
) -> Iterator[Any]:
    """Rows of a statement that holds a selection's condition. Raises BadSelection."""
    try:
        yield from connection.execute(sql, values)
    except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
        if selection.where is None:
            raise
        raise BadSelection(f"--where {selection.where!r}: {error}") from None


def selected_files(
    directory: Path, selection: Selection, damaged: Callable[[Path], None] = lambda path: None
) -> Iterator[Path]:
    """Day files that may hold some of them (an id and its `ts` may differ by a day).

    One that is no database, which is logged, must not hide the others; `damaged` is told of it.
    """
    first = "" if selection.since_us is None else day_at(selection.since_us // 1_000_000 - 86_400)
    for day, path in day_files(directory):
        if day >= first:
            try:
                is_made = has_schema(path)
            except sqlite3.DatabaseError as error:
                report_damage(path, error)
                damaged(path)
                continue
            if is_made:
                yield path


def is_readable(path: Path) -> bool:
    """Whether a day file can be read; one that is no database is logged."""
    try:
        return has_schema(path)
    except sqlite3.DatabaseError as error:
        report_damage(path, error)
        return False


def report_damage(path: Path, error: sqlite3.DatabaseError) -> None:
    """Say that a day file could not be read to its end."""
    log("store_damaged", level="error", file=str(path), error=str(error), hint="pointsman verify")
