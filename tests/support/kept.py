"""A data directory with records in it, beside a configuration that points there."""

from pathlib import Path

from telemetry.ids import new_id
from telemetry.record import RequestRecord
from tests.support.answered import attempt, record, write
from tests.support.simple_config import write_config

ANSWER = (
    b'{"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": '
    b'[{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}'
)


def kept(**changes: object) -> RequestRecord:
    """An answered request with a whole answer, with changes."""
    identifier = new_id()
    whole = {
        "id": identifier,
        "ts_us": int(identifier.replace("-", "")[:12], 16) * 1000,
        "route": "default",
        "backend": "quick",
        "response": ANSWER,
        "cost_usd": 0.002,
    }
    return record(attempt(), **{**whole, **changes})


def config_with(directory: Path, *records: RequestRecord) -> Path:
    """`config.yaml`, whose data directory holds a journal with these, not folded yet."""
    data = directory / "data"
    data.mkdir(mode=0o700)
    write(data, list(records))
    return write_config(directory)
