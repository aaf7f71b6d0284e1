"""A data directory with answered requests and what a teacher says of them."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from learning.captured import EVERYTHING, captured
from telemetry.ids import new_id
from telemetry.record import RequestRecord
from telemetry.store import LEARNING_FILE, open_for_writing
from tests.support.records import keep, make_attempt, make_record

_LABEL = (
    "insert into labels(id, request_id, input_hash, source, model, sample_no, output, ts_us)"
    " values (?,?,?,?,?,0,?,1)"
)


def answer_body(text: str) -> bytes:
    """A whole chat completion that says `text`."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "c", "choices": [choice]}).encode()


def asked(prompt: str, said: str, *, backend: str = "local", **changes: Any) -> RequestRecord:
    """A question that `backend` answered; `confidence` and `reason` are the attempt's and the
    decision's."""
    attempt = make_attempt(backend, confidence=changes.pop("confidence", 0.9))
    body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
    plain: dict[str, Any] = {
        "route": "r",
        "task": None,
        "labels": {},
        "backend": backend,
        "decided": backend,
        "attempts": (attempt,),
        "request": json.dumps(body).encode(),
        "response": answer_body(said),
    }
    return make_record(**{**plain, **changes})


def keep_labelled(
    directory: Path,
    records: Iterable[RequestRecord],
    right: Callable[[str], str | None],
    *,
    source: str = "teacher",
    model: str = "gpt-4",
) -> None:
    """Fold the records; `right` gives what is right for a request's id, or None."""
    keep(directory, list(records))
    connection = open_for_writing(directory / LEARNING_FILE, "learning")
    connection.execute("begin")
    for one in captured(directory, EVERYTHING):
        said = right(one.id)
        if said is not None and one.input_hash is not None:
            row = (new_id(), one.id, one.input_hash, source, model, said.encode())
            connection.execute(_LABEL, row)
    connection.execute("commit")
    connection.close()
