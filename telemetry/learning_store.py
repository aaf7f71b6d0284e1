"""`learning.db` being written: what was learned, verdicts, events, and the fold's progress.

Everything here may be written twice with the same result (each row has its own key), so it
needs no progress of its own: the day files commit first, this file after them.
"""

import sqlite3
import time
from pathlib import Path
from typing import Final

import msgspec
from crc32c import crc32c

from .bulk_insert import insert_statement
from .record import EventRecord, FeedbackRecord, LabelRecord
from .rows import Row
from .store import LEARNING_FILE, has_schema, open_for_reading, open_for_writing

_encode_json = msgspec.json.Encoder().encode

FEEDBACK_COLUMNS: Final = (
    "id", "request_id", "ts_us", "name", "num", "text", "demonstration", "source", "tags",
    "caller",
)  # fmt: skip
LABEL_COLUMNS: Final = (
    "id", "request_id", "input_hash", "source", "model", "prompt_hash", "cache_key", "sample_no",
    "output", "score", "verdict", "cost_usd", "ts_us", "supersedes", "probability", "route",
    "backend", "total_us", "prompt_tok", "completion_tok", "reasoning_tok", "agrees",
)  # fmt: skip
_FEEDBACK: Final = insert_statement("feedback", (*FEEDBACK_COLUMNS, "row_crc"), known="ignore")
_LABEL: Final = insert_statement("labels", (*LABEL_COLUMNS, "row_crc"), known="ignore")
_EVENT: Final = (
    "insert or ignore into events(segment, offset, ts_us, name, node, worker, number, text)"
    " values (?,?,?,?,?,?,?,?)"
)
_UNREAD: Final = (
    "insert or ignore into unread_frames(segment, offset, kind, ts_us, payload) values (?,?,?,?,?)"
)
HOLDER: Final = "keeper"
"""In the place of a segment, for events that came through none."""
_PROGRESS: Final = (
    "insert or replace into fold_progress(segment, node, worker, bytes_done, next_sequence,"
    " damages, ts_us) values (?,?,?,?,?,?,?)"
)


class Progress(msgspec.Struct, frozen=True):
    """How far a segment is folded, and which frame comes next there."""

    bytes_done: int = 0
    next_sequence: int = 0
    damages: int = 0
    """Pieces skipped so far; a segment that has some is set aside, not removed."""


class LearningBatch(msgspec.Struct):
    """Rows of one read of one segment."""

    feedback: list[Row] = []
    labels: list[Row] = []
    events: list[Row] = []
    unread: list[Row] = []


class LearningStore:
    """The one writer of `learning.db`. Close it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / LEARNING_FILE
        self._connection = open_for_writing(self.path, "learning")

    def write(
        self, batch: LearningBatch, *, segment: str, node: str, worker: int, progress: Progress
    ) -> None:
        """Commit `batch`, and how far in `segment` it reaches (waiting commands look at that)."""
        self._connection.execute("begin immediate")
        try:
            many = self._connection.executemany
            many(_FEEDBACK, [(*row, verdict_crc(row)) for row in batch.feedback])
            many(_LABEL, [(*row, verdict_crc(row)) for row in batch.labels])
            many(_EVENT, batch.events)
            many(_UNREAD, batch.unread)
            place = (segment, node, worker)
            row = (*place, *msgspec.structs.astuple(progress), _now_us())
            self._connection.execute(_PROGRESS, row)
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")

    def add_event(self, event: EventRecord) -> None:
        """Keep an event of the folder's holder, which has no journal."""
        self._connection.execute(_EVENT, event_row(event, HOLDER, event.ts_us, ""))

    def progress(self, segment: str) -> Progress:
        """Where to go on in `segment`."""
        row = self._connection.execute(
            "select bytes_done, next_sequence, damages from fold_progress where segment = ?",
            (segment,),
        ).fetchone()
        return Progress(*row) if row else Progress()

    def forget_progress(self, segment: str) -> None:
        """The segment is gone."""
        self._connection.execute("delete from fold_progress where segment = ?", (segment,))

    def segments(self) -> list[str]:
        """Segments with progress."""
        rows = self._connection.execute("select segment from fold_progress").fetchall()
        return [segment for (segment,) in rows]

    def save_learned(self, name: str, data: bytes) -> None:
        """Keep `data` under `name`, in place of what was there."""
        self._connection.execute(
            "insert or replace into learned(name, ts_us, data) values (?,?,?)",
            (name, _now_us(), data),
        )

    def load_learned(self, name: str) -> bytes | None:
        """What was last saved under `name`."""
        return _learned(self._connection, name)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def load_learned(directory: Path, name: str) -> bytes | None:
    """What was last saved under `name`, read without the lock (for `explain`)."""
    path = directory / LEARNING_FILE
    if not has_schema(path):
        return None
    connection = open_for_reading(path)
    try:
        return _learned(connection, name)
    finally:
        connection.close()


def folded_bytes(directory: Path) -> dict[str, int]:
    """How far each segment is folded, read without the lock."""
    path = directory / LEARNING_FILE
    if not has_schema(path):
        return {}
    connection = open_for_reading(path)
    try:
        return dict(connection.execute("select segment, bytes_done from fold_progress").fetchall())
    finally:
        connection.close()


def feedback_row(feedback: FeedbackRecord) -> Row:
    """The row of `feedback`, in the order of FEEDBACK_COLUMNS."""
    tags = _encode_json(feedback.tags).decode() if feedback.tags else None
    return (
        feedback.id,
        feedback.request_id,
        feedback.ts_us,
        feedback.name,
        _number(feedback.number),
        feedback.text,
        feedback.demonstration,
        feedback.source,
        tags,
        feedback.caller,
    )


def label_row(label: LabelRecord) -> Row:
    """The row of `labels`, in the order of LABEL_COLUMNS."""
    usage = label.usage
    return (
        label.id,
        label.request_id,
        label.input_hash,
        label.source,
        label.model,
        label.prompt_hash,
        label.cache_key,
        label.sample_no,
        label.output,
        _number(label.score),
        label.verdict,
        _number(label.cost_usd),
        label.ts_us,
        label.supersedes,
        _number(label.probability),
        label.route,
        label.backend,
        label.total_us,
        usage.prompt,
        usage.completion,
        usage.reasoning,
        None if label.agrees is None else +label.agrees,
    )


def event_row(event: EventRecord, segment: str, offset: int, node: str) -> Row:
    """The row of `events`; its place in the journal is its identity."""
    return (segment, offset, event.ts_us, event.name, node, event.worker, event.number, event.text)


def _number(value: float | None) -> float | None:
    """As SQLite gives it back: it does not keep the sign of a zero."""
    return None if value is None else value + 0.0


def verdict_crc(row: Row) -> int:
    """Checksum of a row of `feedback` or `labels`."""
    return int(crc32c(msgspec.msgpack.encode(row)))


def _learned(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute("select data from learned where name = ?", (name,)).fetchone()
    return None if row is None else bytes(row[0])


def _now_us() -> int:
    return time.time_ns() // 1000
