"""One request found by an id, wherever it is by now: in the store, or still in the journal.

Records go one way, from the journal to the store. So: the store, the journal, and the store once
more for what was folded in between. Reads only; blocks for some milliseconds.
"""

from pathlib import Path
from typing import NamedTuple

from . import queries
from .capture_json import Json, decision_json
from .record import RequestRecord
from .rows import DECISION_COLUMNS, REQUEST_COLUMNS, candidate_rows, request_row
from .unfolded import unfolded_records
from .verdicts import feedback_of

NO_BODY = (None, None, None)


class Decided(NamedTuple):
    """A decision with what was said of its answer, as JSON data; and the caller it was made for
    (None: no key was asked for)."""

    caller: str | None
    decision: Json


def find_decision(directory: Path, identifier: str) -> Decided | None:
    """The decision called `identifier`; none is kept of requests with `capture: off`."""
    found = queries.decision(directory, identifier)
    if found is None:
        record = _unfolded(directory, identifier)
        if record is not None:
            found = record.caller, _decision_of(record)
        else:
            found = queries.decision(directory, identifier)
    if found is None:
        return None
    caller, decision = found
    return Decided(caller, {**decision, "feedback": feedback_of(directory, identifier)})


def find_response_backend(directory: Path, response_id: str, caller: str | None) -> str | None:
    """Which backend answered `caller` with an answer called `response_id`.

    queries.ANOTHERS where it was made for somebody else, None where nobody here made it.
    """
    anothers = None
    for look in (queries.response_backend, _unfolded_backend, queries.response_backend):
        found = look(directory, response_id, caller)
        if found:
            return found
        anothers = anothers if found is None else found
    return anothers


def _unfolded(directory: Path, identifier: str) -> RequestRecord | None:
    for record in unfolded_records(directory, identifier.encode()):
        if record.id == identifier and record.capture != "off":
            return record
    return None


def _unfolded_backend(directory: Path, response_id: str, caller: str | None) -> str | None:
    anothers = None
    for record in unfolded_records(directory, response_id.encode("utf-8", "surrogatepass")):
        is_it = record.provider_response_id == response_id and record.api == "responses"
        if is_it and record.backend is not None:
            if record.caller == caller:
                return record.backend
            anothers = queries.ANOTHERS
    return anothers


def _decision_of(record: RequestRecord) -> Json:
    """As it will read once it is folded: made of the very rows."""
    row = request_row(record, seq=0, node="", worker=0, request=NO_BODY, response=NO_BODY)
    candidates = [
        dict(zip(DECISION_COLUMNS, (0, *one), strict=True))
        for one in candidate_rows(record.candidates)
    ]
    return decision_json(dict(zip(REQUEST_COLUMNS, row, strict=True)), candidates)
