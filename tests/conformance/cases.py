"""What goes wrong, as scripts of an upstream: the rows of the matrix.

A case says what its upstream does and what pointsman makes of it. `SAME` is the rule; every other
word is an improvement that was asked for, and stands here with its reason. A refusal that our own
tries could not help is not tried again by a client that heeds `x-should-retry`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tests.support.plane import DONE, completion, event, usage_event
from tests.support.scripted import (
    LAST_CHUNK,
    Script,
    Step,
    chunk,
    chunked_head,
    fin,
    request,
    reset,
    response,
    stall,
)

CLOSE = "connection: close"

Kind = Literal["same", "fewer", "answered", "became", "cut"]


@dataclass(frozen=True, slots=True)
class Through:
    """What a client sees through pointsman, compared with direct."""

    kind: Kind
    why: str = ""
    status: int | None = None
    code: str | None = None


SAME = Through("same")
FEWER = Through("fewer", "tried by us, not 3 x 3")
ANSWERED = Through("answered", "our own retry")
FAILED = Through("became", "typed", 502, "upstream_error")
OUR_KEY = Through("became", "our key, not the client's", 502, "upstream_auth")
CUT = Through("cut", "cut, and said so", None)
FIRST_ERROR = Through("became", "a status", 502, "c")


@dataclass(frozen=True, slots=True)
class Case:
    """One row. Scripts are played one a connection, the last one again and again."""

    name: str
    scripts: tuple[Script, ...]
    through: Through = SAME
    stream: bool = False


def _whole(name: str, *answers: bytes, through: Through = SAME) -> Case:
    return Case(name, tuple([request, answer, fin] for answer in answers), through)


def _stream(
    name: str, *events: bytes, through: Through = SAME, end: Sequence[Step] = (LAST_CHUNK, fin)
) -> Case:
    answer = chunked_head(CLOSE) + b"".join(map(chunk, events))
    return Case(name, ([request, answer, *end],), through, stream=True)


def _asked_to_stream(name: str, answer: bytes, through: Through = SAME) -> Case:
    return Case(name, ([request, answer, fin],), through, stream=True)


def _status(status: str, *headers: str, code: str = "said_by_backend") -> bytes:
    error = {"message": "said by the backend", "type": "some_error", "param": None, "code": code}
    return response(json.dumps({"error": error}).encode(), CLOSE, *headers, status=status)


PASSED_ON = ("400 Bad Request", "403 Forbidden", "404 Not Found", "413 Too Large",
             "415 Unsupported", "422 Unprocessable", "499 Client Closed")  # fmt: skip
RETRIED = ("408 Timeout", "409 Conflict", "429 Too Many", "500 Internal", "502 Bad Gateway",
           "503 Unavailable", "504 Gateway Timeout", "529 Overloaded")  # fmt: skip

HTML = response(b"<html>Bad gateway</html>", CLOSE, content_type="text/html")
HTML_502 = response(b"<html>no</html>", CLOSE, status="502 Bad", content_type="text/html")


def transport_cases(answer: bytes) -> tuple[Case, ...]:
    """What can happen to a whole answer in any protocol."""
    return (
        Case("reset once, then an answer", ([request, reset], [request, answer, fin]), ANSWERED),
        _whole("200 in HTML", HTML, through=FAILED),
        _whole("200 that is not JSON", response(b"not json", CLOSE), through=FAILED),
        _whole("200 that is empty", response(b"", CLOSE), through=FAILED),
        _whole("body shorter than its length", answer[:-20], through=FAILED),
        _whole("502 in HTML", HTML_502, through=FAILED),
        Case("reset before the head", ([request, reset],), FAILED),
        Case("closed before the head", ([request, fin],), FAILED),
    )


# -- OpenAI's chat completions ---------------------------------------------------------------

ANSWER = response(completion(), CLOSE)
FIRST = event("he", usage=None)
SECOND = event("llo", usage=None)
LAST = event(finish="stop", usage=None)
ERROR = json.dumps({"error": {"message": "m", "type": "t", "param": None, "code": "c"}}).encode()
ERROR_EVENT = b"data: " + ERROR + b"\n\n"
CRLF = [one.replace(b"\n", b"\r\n") for one in (FIRST, SECOND, LAST, DONE)]
REFUSED = _status("400 Bad Request")
OVERLOADED = _status("503 Unavailable")

CHAT_CASES = (
    _whole("one 503, then an answer", OVERLOADED, ANSWER, through=ANSWERED),
    *transport_cases(ANSWER),
    _whole("nothing", ANSWER),
    *(_whole(f"status {status[:3]}", _status(status)) for status in PASSED_ON),
    *(_whole(f"status {status[:3]}", _status(status), through=FEWER) for status in RETRIED),
    _whole("status 401", _status("401 Unauthorized"), through=OUR_KEY),
    _whole("429 + retry-after", _status("429 Too Many", "retry-after: 0.05"), through=FEWER),
    _whole("503 + retry-after", _status("503 Unavailable", "retry-after: 0.05"), through=FEWER),
    _whole("429 that forbids a retry", _status("429 Too Many", "x-should-retry: false")),
    _whole("429 no quota", _status("429 Too Many", code="insufficient_quota"), through=FEWER),
    _whole("400 that asks for a retry", _status("400 Bad Request", "x-should-retry: true")),
    _stream("stream", FIRST, SECOND, LAST, DONE),
    _stream("stream with usage", FIRST, SECOND, LAST, usage_event(), DONE),
    _stream("no [DONE]", FIRST, SECOND, LAST),
    _stream("no finish, no [DONE]", FIRST, SECOND, through=CUT),
    _stream("closed in the middle", FIRST, SECOND, end=[fin], through=CUT),
    _stream("reset in the middle", FIRST, SECOND, end=[stall(0.1), reset], through=CUT),
    _stream("closed after the finish", FIRST, SECOND, LAST, end=[fin], through=CUT),
    _stream("half an event", FIRST, SECOND[:-30], through=CUT),
    _stream("error event", FIRST, ERROR_EVENT),
    _stream("error event with its name", FIRST, b"event: error\n" + ERROR_EVENT),
    _stream("error event first", ERROR_EVENT, through=FIRST_ERROR),
    _stream("bad JSON in an event", FIRST, b"data: {oh no\n\n", LAST, DONE),
    _stream("comments", b": hello\n\n", FIRST, b": still here\n\n", SECOND, LAST, DONE),
    _stream("CRLF", *CRLF),
    _stream("terminator late", FIRST, SECOND, LAST, DONE, end=[stall(1.0), LAST_CHUNK, fin]),
    _asked_to_stream("stream answered whole", ANSWER),
    _asked_to_stream("stream refused", REFUSED),
    _asked_to_stream("stream overloaded", OVERLOADED, through=FEWER),
    _asked_to_stream("stream answered in HTML", HTML, through=FAILED),
)

# -- Anthropic's messages --------------------------------------------------------------------


def _message_event(type: str, **fields: object) -> bytes:
    data = json.dumps({"type": type, **fields})
    return f"event: {type}\ndata: {data}\n\n".encode()


def _message(content: Sequence[object], stop: str | None) -> dict[str, object]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": content, "stop_reason": stop, "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 5}}  # fmt: skip


def _delta(text: str) -> bytes:
    delta = {"type": "text_delta", "text": text}
    return _message_event("content_block_delta", index=0, delta=delta)


def _message_status(status: str, *headers: str, type: str = "said_by_backend") -> bytes:
    error = {"type": "error", "error": {"type": type, "message": "said by the backend"}}
    return response(json.dumps(error).encode(), CLOSE, *headers, status=status)


MESSAGE = response(json.dumps(_message([{"type": "text", "text": "hello"}], "end_turn")).encode(),
                   CLOSE)  # fmt: skip
BLOCK = {"type": "text", "text": ""}
BEGIN = (
    _message_event("message_start", message=_message([], None)),
    _message_event("content_block_start", index=0, content_block=BLOCK),
    _message_event("ping"),
    _delta("he"),
    _delta("llo"),
)
END = (
    _message_event("content_block_stop", index=0),
    _message_event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None},
                   usage={"output_tokens": 5}),
    _message_event("message_stop"),
)  # fmt: skip
MESSAGE_ERROR = _message_event("error", error={"type": "overloaded_error", "message": "m"})
MESSAGE_OVERLOADED = _message_status("529 Overloaded", type="overloaded_error")
MESSAGE_CUT = Through("cut", CUT.why)

MESSAGE_CASES = (
    _whole("one 529, then an answer", MESSAGE_OVERLOADED, MESSAGE, through=ANSWERED),
    *transport_cases(MESSAGE),
    _whole("nothing", MESSAGE),
    *(_whole(f"status {status[:3]}", _message_status(status)) for status in PASSED_ON),
    *(_whole(f"status {status[:3]}", _message_status(status), through=FEWER)
      for status in RETRIED),
    _whole("status 401", _message_status("401 Unauthorized"), through=OUR_KEY),
    _whole("429 + retry-after", _message_status("429 Too Many", "retry-after: 0.05"),
           through=FEWER),
    _stream("stream", *BEGIN, *END),
    _stream("no message_stop", *BEGIN, through=MESSAGE_CUT),
    _stream("closed in the middle", *BEGIN, end=[fin], through=MESSAGE_CUT),
    _stream("reset in the middle", *BEGIN, end=[stall(0.1), reset], through=MESSAGE_CUT),
    _stream("error event", *BEGIN, MESSAGE_ERROR),
    _stream("comments", b": hello\n\n", *BEGIN, b": still here\n\n", *END),
    _stream("CRLF", *(one.replace(b"\n", b"\r\n") for one in (*BEGIN, *END))),
    _asked_to_stream("stream refused", _message_status("400 Bad Request")),
    _asked_to_stream("stream overloaded", MESSAGE_OVERLOADED, through=FEWER),
    _asked_to_stream("stream answered in HTML", HTML, through=FAILED),
)  # fmt: skip
