"""What callers said about their answers, as the store has it; read-only.

Feedback outlives the day of its request, so it stands in `learning.db` and is joined by id.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from .capture_json import Json, iso_time
from .logs import log
from .store import LEARNING_FILE, has_schema, open_for_reading

FEEDBACK_MAX: Final = 100
"""The newest shown with one request; the table has them all."""

_OF_REQUEST: Final = (
    "select * from (select * from feedback where request_id = ? order by ts_us desc, id desc"
    f" limit {FEEDBACK_MAX}) order by ts_us, id"
)


class FeedbackReader:
    """Feedback by request. Holds one connection and no transaction; close it.

    A `learning.db` that is missing or damaged hides no capture: there is then no feedback.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / LEARNING_FILE
        self._connection: sqlite3.Connection | None = None
        try:
            if has_schema(path):
                self._connection = open_for_reading(path)
        except sqlite3.DatabaseError as error:
            self._give_up(error)

    def of(self, request_id: str, *, bodies: bool = False) -> list[Json]:
        """Oldest first; `bodies` adds the demonstrations."""
        if self._connection is None:
            return []
        try:
            rows = self._connection.execute(_OF_REQUEST, (request_id,)).fetchall()
        except sqlite3.OperationalError:  # busy: try again next time
            return []
        except sqlite3.DatabaseError as error:
            self._give_up(error)
            return []
        return [feedback_json(row, bodies=bodies) for row in rows]

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _give_up(self, error: sqlite3.DatabaseError) -> None:
        log("store_damaged", level="error", file=LEARNING_FILE, error=str(error))
        self.close()


def feedback_of(directory: Path, request_id: str) -> list[Json]:
    """What was said about one request, with demonstrations."""
    with closing(FeedbackReader(directory)) as reader:
        return reader.of(request_id, bodies=True)


def feedback_json(row: sqlite3.Row, *, bodies: bool) -> Json:
    """One row of `feedback`; a number stands for a truth value too."""
    found: Json = {
        "id": row["id"],
        "ts": iso_time(row["ts_us"]),
        "name": row["name"],
        "value": row["text"] if row["num"] is None else row["num"],
        "source": row["source"],
        "caller": row["caller"] if "caller" in row.keys() else None,  # noqa: SIM118 (a Row)
    }
    if bodies and row["demonstration"] is not None:
        found["demonstration"] = _parsed(bytes(row["demonstration"]))
    return found


def _parsed(demonstration: bytes) -> object:
    """As the caller sent it, checked at the door; else (of another writer) as text."""
    try:
        return msgspec.json.decode(demonstration)
    except msgspec.DecodeError:
        return demonstration.decode("utf-8", "replace")
