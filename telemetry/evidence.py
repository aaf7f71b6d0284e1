"""What was folded since one last looked, as far as tests on routes want it: answers and verdicts.

A `Cursor` says how far one has read. Whoever keeps it together with what was made of the rows
counts each of them once, however often it is killed. Reads only; a page at a time.
"""

import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from .cursor import Cursor
from .store import LEARNING_FILE, day_of, day_path, days, has_schema, open_for_reading

ROWS_MAX: Final = 2000
"""Answers at one look: about 20 ms."""
VERDICTS_MAX: Final = 200
"""Labels and feedback at one look: each is looked up, which takes about a millisecond."""
DAYS_READ: Final = 2
"""Of yesterday some may still be folded today; what comes later is not looked at."""

_ANSWER: Final = """
select r.seq, r.id, r.ts_us, r.route, r.decided, r.backend, r.canary, r.caller,
  r.conversation_id conversation, r.status, r.total_us, r.ttft_us first_byte_us, r.cost_usd,
  r.confidence, a.error_type first_error, a.confidence first_confidence, a.total_us first_us,
  a.cost_usd first_cost_usd
from requests r left join attempts a on a.request_seq = r.seq and a.kind = 'primary'
where r.decided is not null and {condition}
"""
_LABELS: Final = "select rowid, * from labels where rowid > ? order by rowid limit ?"
_FEEDBACK: Final = "select rowid, * from feedback where rowid > ? order by rowid limit ?"


class AnsweredRow(NamedTuple):
    """One request that was routed. `first_*` are of the attempt the decision asked for."""

    seq: int
    id: str
    ts_us: int
    route: str
    decided: str
    backend: str | None
    """Whose answer the client received."""
    canary: str | None
    caller: str | None
    conversation: str | None
    status: str
    total_us: int | None
    first_byte_us: int | None
    cost_usd: float | None
    confidence: float | None
    first_error: str | None
    first_confidence: float | None
    first_us: int | None
    first_cost_usd: float | None


class LabelRow(NamedTuple):
    """One label, as it was given."""

    rowid: int
    request_id: str
    source: str
    score: float | None
    verdict: str | None
    output: bytes | None
    cost_usd: float | None
    route: str | None
    backend: str | None
    total_us: int | None
    agrees: bool | None


class FeedbackRow(NamedTuple):
    """What somebody said of an answer."""

    rowid: int
    request_id: str
    name: str
    number: float | None


class News(NamedTuple):
    """What came since; `cursor` is behind it, `has_more` where there is more."""

    answers: list[AnsweredRow]
    labels: list[LabelRow]
    feedback: list[FeedbackRow]
    cursor: Cursor
    has_more: bool


def cursor_now(directory: Path) -> Cursor:
    """Behind everything that is folded."""
    found = {}
    for day in days(directory)[-DAYS_READ:]:
        with closing(_open(day_path(directory, day))) as connection:
            found[day] = _last(connection, "select max(seq) from requests")
    with closing(_open(directory / LEARNING_FILE)) as connection:
        labels = _last(connection, "select max(rowid) from labels")
        feedback = _last(connection, "select max(rowid) from feedback")
    return Cursor(found, labels, feedback)


def news_since(directory: Path, cursor: Cursor, routes: Collection[str]) -> News:
    """Answers of `routes`, and all verdicts, behind `cursor`. Raises sqlite3.Error."""
    names, done, answers, has_more = sorted(routes), {}, [], False
    for day in days(directory)[-DAYS_READ:]:
        after = cursor.days.get(day, 0)
        with closing(_open(day_path(directory, day))) as connection:
            last = _last(connection, "select max(seq) from requests")
            rows = _answers_after(connection, after, last, names)
        answers += rows
        is_cut = len(rows) >= ROWS_MAX
        done[day] = rows[-1].seq if is_cut else max(after, last)
        has_more = has_more or is_cut
    with closing(_open(directory / LEARNING_FILE)) as connection:
        labels = [_label(row) for row in _rows(connection, _LABELS, (cursor.labels, VERDICTS_MAX))]
        said = [_said(row) for row in _rows(connection, _FEEDBACK, (cursor.feedback, VERDICTS_MAX))]
    behind = Cursor(
        done,
        labels[-1].rowid if labels else cursor.labels,
        said[-1].rowid if said else cursor.feedback,
    )
    return News(answers, labels, said, behind, has_more or VERDICTS_MAX in (len(labels), len(said)))


def answered(directory: Path, request_id: str) -> AnsweredRow | None:
    """One request by its id; None where no day has it, or where it was not routed."""
    day = day_of(request_id, 0)
    with closing(_open(day_path(directory, day))) as connection:
        rows = _rows(connection, _ANSWER.format(condition="r.id = ?"), (request_id,))
    return AnsweredRow(*rows[0]) if rows else None


def labels_of(directory: Path, request_id: str) -> list[LabelRow]:
    """All labels of one request, in the order they came."""
    with closing(_open(directory / LEARNING_FILE)) as connection:
        sql = "select rowid, * from labels where request_id = ? order by rowid"
        return [_label(row) for row in _rows(connection, sql, (request_id,))]


def is_first_complaint(directory: Path, said: FeedbackRow, names: Collection[str]) -> bool:
    """Whether nobody had said by one of `names` that this answer is wrong before."""
    marks = ",".join("?" * len(names))
    sql = (
        "select 1 from feedback where request_id = ? and rowid < ? and num <= 0"
        f" and name in ({marks}) limit 1"
    )
    with closing(_open(directory / LEARNING_FILE)) as connection:
        return not _rows(connection, sql, (said.request_id, said.rowid, *sorted(names)))


def _answers_after(
    connection: sqlite3.Connection, after: int, last: int, routes: Sequence[str]
) -> list[AnsweredRow]:
    if after >= last or not routes:
        return []
    marks = ",".join("?" * len(routes))
    condition = f"r.seq > ? and r.seq <= ? and r.route in ({marks}) order by r.seq limit ?"
    values = (after, last, *routes, ROWS_MAX)
    return [
        AnsweredRow(*row) for row in _rows(connection, _ANSWER.format(condition=condition), values)
    ]


def _label(row: sqlite3.Row) -> LabelRow:
    values = [row[name] for name in LabelRow._fields]
    found = LabelRow(*values)
    return found._replace(agrees=None if found.agrees is None else bool(found.agrees))


def _said(row: sqlite3.Row) -> FeedbackRow:
    return FeedbackRow(row["rowid"], row["request_id"], row["name"], row["num"])


def _last(connection: sqlite3.Connection, sql: str) -> int:
    rows = _rows(connection, sql, ())
    return (rows[0][0] or 0) if rows else 0


def _rows(connection: sqlite3.Connection, sql: str, values: Sequence[object]) -> list[Any]:
    """None where the tables are not there yet."""
    try:
        return connection.execute(sql, values).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise


def _open(path: Path) -> sqlite3.Connection:
    """The file, or an empty database where it is not there yet."""
    return open_for_reading(path) if has_schema(path) else sqlite3.connect(":memory:")
