"""What is asked of backends and teachers: a request with the answer that is right, where known.

load_questions(FILE.jsonl)     {"messages": [...], "expected": ...}, fine-tuning rows (the
                               last message is the answer), or {"request": ..., "expected": ...}
captured questions             see captured.py
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from pointsman.errors import PointsmanError

from .answer_match import answer_text
from .import_pairs import lines

Json = dict[str, object]

QUESTIONS_MAX: Final = 200_000
_ENVELOPE: Final = frozenset(
    ("stream", "stream_options", "n", "user", "store", "metadata", "logprobs", "top_logprobs")
)
"""Members of a request that are the client's business and not part of the question."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class QuestionsUnreadable(PointsmanError):
    """The file has a line that is no question; the message names it."""


class Question(msgspec.Struct, frozen=True):
    """One question. `body` has no model, no stream and none of the client's own affairs."""

    id: str
    """Of the capture it comes from, else a hash of it."""
    body: Json
    expected: str | None = None
    """As text; None where nobody knows."""
    conversation: str = ""
    answer: str | None = None
    """What the captured backend answered."""
    backend: str | None = None
    input_hash: bytes | None = None
    """Of the capture; labels are found by it."""
    route: str | None = None
    confidence: float | None = None


class _Line(msgspec.Struct):
    messages: list[Json] | None = None
    request: Json | None = None
    expected: object = None
    tools: list[Json] | None = None
    response_format: Json | None = None
    id: str | None = None
    conversation: str | None = None


_decode_line = msgspec.json.Decoder(_Line).decode


def load_questions(path: Path) -> list[Question]:
    """All questions of a file. Raises QuestionsUnreadable, OSError."""
    with path.open("rb") as file:
        found = [
            _question(line, f"{path}:{number}")
            for number, line in lines(file)
            if line is None or line.strip()
        ]
    if not found:
        raise QuestionsUnreadable(f"{path} holds no questions")
    if len(found) > QUESTIONS_MAX:
        raise QuestionsUnreadable(f"{path} holds more than {QUESTIONS_MAX} questions")
    return found


def asked(request: Json) -> Json:
    """The part of a chat request that is the question."""
    return {key: value for key, value in request.items() if key not in _ENVELOPE | {"model"}}


def digest_of(questions: list[Question]) -> str:
    """sha256 over what is asked and what is expected, in order."""
    digest = hashlib.sha256()
    for question in questions:
        digest.update(_encode((question.body, question.expected)) + b"\n")
    return digest.hexdigest()


def messages_of(body: Json) -> Iterator[Json]:
    """The messages that are objects."""
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            yield message


def _question(line: bytes | None, where: str) -> Question:
    if line is None:
        raise QuestionsUnreadable(f"{where}: too long")
    try:
        read = _decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise QuestionsUnreadable(f"{where}: {error}") from None
    body, expected = _parts(read, where)
    identifier = read.id or hashlib.sha256(_encode(body)).hexdigest()[:32]
    return Question(identifier, body, expected, read.conversation or identifier)


def _parts(read: _Line, where: str) -> tuple[Json, str | None]:
    expected = None if read.expected is None else _as_text(read.expected)
    if read.request is not None:
        body = asked(read.request)
    elif read.messages:
        messages = [{k: v for k, v in m.items() if k != "weight"} for m in read.messages]
        if expected is None and messages[-1].get("role") == "assistant":
            expected = answer_text(messages.pop())
        body = {"messages": messages}
        if read.tools:
            body["tools"] = read.tools
        if read.response_format:
            body["response_format"] = read.response_format
    else:
        raise QuestionsUnreadable(f"{where}: it has neither 'messages' nor 'request'")
    if not list(messages_of(body)):
        raise QuestionsUnreadable(f"{where}: it has no messages")
    return body, expected


def _as_text(expected: object) -> str:
    return expected if isinstance(expected, str) else msgspec.json.encode(expected).decode()
