"""Plain answered requests, to be varied; and a worker's journal with some in it."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from pointsman.tokens import Usage
from telemetry.journal import Journal
from telemetry.record import AttemptRecord, RequestRecord

BODY = b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}], "tools": [{"a": 1}]}'


def attempt(**changes: Any) -> AttemptRecord:
    """A whole answer of `local`, with changes."""
    plain = AttemptRecord(
        kind="primary",
        backend="local",
        model="m",
        start_us=0,
        first_byte_us=40_000,
        total_us=150_000,
        http_status=200,
        error_type=None,
        finish_reason="stop",
        usage=Usage(10, 5),
        cost_usd=None,
        confidence=None,
        mean_logprob=None,
        min_logprob=None,
        served_at_once=1,
        won=True,
        body=None,
    )
    return msgspec.structs.replace(plain, **changes)


def record(*attempts: AttemptRecord, **changes: Any) -> RequestRecord:
    """A request that was answered, with changes."""
    plain = RequestRecord(
        id="x",
        ts_us=0,
        api="chat",
        status="ok",
        complete=True,
        capture="full",
        http_status=200,
        task="extract",
        request=BODY,
        attempts=attempts,
    )
    return msgspec.structs.replace(plain, **changes)


def write(directory: Path, records: list[RequestRecord]) -> None:
    """A worker that answered these and left."""

    async def run() -> None:
        journal = Journal(
            directory,
            node="n",
            worker=0,
            durability="process",
            on_error="fail_open",
            loop=asyncio.get_running_loop(),
        )
        for one in records:
            journal.append(one, lambda is_kept: None)
        journal.close()

    asyncio.run(run())
