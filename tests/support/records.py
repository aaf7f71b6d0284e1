"""Records and journals for tests: as a worker would write them, on a loop of their own."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from pointsman.tokens import Usage
from telemetry.fold import Folder, FoldReport
from telemetry.ids import new_id
from telemetry.journal import Journal
from telemetry.record import AttemptRecord, BodyPart, CandidateRecord, PlanRecord, RequestRecord

REQUEST = b'{"model":"auto","messages":[{"role":"user","content":"Payoff 1,250.10?"}]}'
RESPONSE = msgspec.json.encode(
    {
        "id": "chatcmpl-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "1250.10"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 5},
    }
)


def make_candidate(backend: str, **changes: Any) -> CandidateRecord:
    """A candidate that meets its limits."""
    candidate = CandidateRecord(
        backend, True, backend == "local", 0.0003, 170_000, 410_000, 0.97, None, 1.0, True, "fits"
    )
    return msgspec.structs.replace(candidate, **changes)


def make_attempt(backend: str = "local", **changes: Any) -> AttemptRecord:
    """A first and only call that was answered."""
    attempt = AttemptRecord(
        "primary", backend, "liability-8b", 90, 41_000, 180_000, 200, None, "stop",
        Usage(12, 5), 0.00031, 0.93, -0.08, -1.2, 1, True, None,
    )  # fmt: skip
    return msgspec.structs.replace(attempt, **changes)


def make_record(**changes: Any) -> RequestRecord:
    """A request that was answered."""
    record = RequestRecord(
        id=new_id(),
        ts_us=time.time_ns() // 1000,
        api="chat",
        status="ok",
        complete=True,
        capture="full",
        http_status=200,
        route="extract",
        backend="local",
        decided="local",
        policy="3f2a9c1d5e7b",
        model_asked="auto",
        model_used="liability-8b",
        caller="billing",
        labels={"task": "extract-1"},
        task="extract-1",
        reason="cheapest of 2",
        finish_reason="stop",
        usage=Usage(12, 5),
        cost_usd=0.00031,
        first_byte_us=41_000,
        total_us=180_000,
        confidence=0.93,
        candidates=(make_candidate("local"), make_candidate("gpt-4", cost_usd=None)),
        attempts=(make_attempt(),),
        plan=(PlanRecord("fallback", "gpt-4", "on failure"),),
        request=REQUEST,
        response=RESPONSE,
    )
    return msgspec.structs.replace(record, **changes)


def write_journal(
    directory: Path, items: Iterable[RequestRecord | BodyPart], *, worker: int = 0, **options: Any
) -> list[bool]:
    """Append `items` in turns of one, close the journal; what each record's release said."""
    released: list[bool] = []

    async def write() -> None:
        loop = asyncio.get_running_loop()
        journal = Journal(directory, node="here", worker=worker, loop=loop, **options)
        for item in items:
            if isinstance(item, RequestRecord):
                journal.append(item, released.append)
            else:
                journal.append_part(item)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        journal.close()

    asyncio.run(write())
    return released


def fold(directory: Path, **options: Any) -> FoldReport:
    """Fold everything there is, as a command would."""
    folder = Folder(directory, **options)
    try:
        return folder.fold_all()
    finally:
        folder.close()


def keep(directory: Path, items: Sequence[RequestRecord | BodyPart], **options: Any) -> FoldReport:
    """Write and fold."""
    write_journal(directory, items, **options)
    return fold(directory)


def digest(data: bytes) -> str:
    """sha256 in hex, as captures show it."""
    return sha256(data).hexdigest()
