"""Captured chats for tests of data sets: many, different, and as wished."""

import json
import random
from pathlib import Path
from typing import Any

from telemetry.record import RequestRecord
from tests.support.records import keep, make_record

WORDS = [f"word{n}" for n in range(3000)]


def prose(seed: object, count: int = 40) -> str:
    """Words that no other seed gives."""
    draw = random.Random(f"prose {seed}")
    return " ".join(draw.choice(WORDS) for _ in range(count))


def answer(content: object = "ok", finish: str = "stop", **message: Any) -> bytes:
    """A whole answer."""
    said = {"role": "assistant", "content": content, **message}
    return json.dumps(
        {"model": "m-1", "choices": [{"index": 0, "message": said, "finish_reason": finish}]}
    ).encode()


def chat(question: object, reply: object = "ok", **changes: Any) -> RequestRecord:
    """One question, answered; `question` may be all messages, `body` further members."""
    messages = question if isinstance(question, list) else [{"role": "user", "content": question}]
    body = {"model": "auto", "messages": messages, **changes.pop("body", {})}
    return make_record(
        **{
            "request": json.dumps(body).encode(),
            "response": reply if isinstance(reply, bytes) else answer(reply),
            "conversation": None,
            **changes,
        }
    )


def keep_chats(directory: Path, count: int, **changes: Any) -> list[RequestRecord]:
    """`count` different chats, in the store."""
    records = [chat(prose(n), f"answer {n}", **changes) for n in range(count)]
    keep(directory, records)
    return records
