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


def whole(name: str, *answers: bytes, through: Through = SAME) -> Case:
    """A request for a whole answer; one answer a connection."""
    return Case(name, tuple([request, answer, fin] for answer in answers), through)


def stream(
    name: str, *events: bytes, through: Through = SAME, end: Sequence[Step] = (LAST_CHUNK, fin)
) -> Case:
    """A request for a stream; these events in chunks of their own."""
    answer = chunked_head(CLOSE) + b"".join(map(chunk, events))
    return Case(name, ([request, answer, *end],), through, stream=True)


def asked_to_stream(name: str, answer: bytes, through: Through = SAME) -> Case:
    return Case(name, ([request, answer, fin],), through, stream=True)


def refusal(status: str, *headers: str, code: str = "said_by_backend") -> bytes:
    """An error in OpenAI's shape."""
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
        whole("200 in HTML", HTML, through=FAILED),
        whole("200 that is not JSON", response(b"not json", CLOSE), through=FAILED),
        whole("200 that is empty", response(b"", CLOSE), through=FAILED),
        whole("body shorter than its length", answer[:-20], through=FAILED),
        whole("502 in HTML", HTML_502, through=FAILED),
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
REFUSED = refusal("400 Bad Request")
OVERLOADED = refusal("503 Unavailable")

CHAT_CASES = (
    whole("one 503, then an answer", OVERLOADED, ANSWER, through=ANSWERED),
    *transport_cases(ANSWER),
    whole("nothing", ANSWER),
    *(whole(f"status {status[:3]}", refusal(status)) for status in PASSED_ON),
    *(whole(f"status {status[:3]}", refusal(status), through=FEWER) for status in RETRIED),
    whole("status 401", refusal("401 Unauthorized"), through=OUR_KEY),
    whole("429 + retry-after", refusal("429 Too Many", "retry-after: 0.05"), through=FEWER),
    whole("503 + retry-after", refusal("503 Unavailable", "retry-after: 0.05"), through=FEWER),
    whole("429 that forbids a retry", refusal("429 Too Many", "x-should-retry: false")),
    whole("429 no quota", refusal("429 Too Many", code="insufficient_quota"), through=FEWER),
    whole("400 that asks for a retry", refusal("400 Bad Request", "x-should-retry: true")),
    stream("stream", FIRST, SECOND, LAST, DONE),
    stream("stream with usage", FIRST, SECOND, LAST, usage_event(), DONE),
    stream("no [DONE]", FIRST, SECOND, LAST),
    stream("no finish, no [DONE]", FIRST, SECOND, through=CUT),
    stream("closed in the middle", FIRST, SECOND, end=[fin], through=CUT),
    stream("reset in the middle", FIRST, SECOND, end=[stall(0.1), reset], through=CUT),
    stream("closed after the finish", FIRST, SECOND, LAST, end=[fin], through=CUT),
    stream("half an event", FIRST, SECOND[:-30], through=CUT),
    stream("error event", FIRST, ERROR_EVENT),
    stream("error event with its name", FIRST, b"event: error\n" + ERROR_EVENT),
    stream("error event first", ERROR_EVENT, through=FIRST_ERROR),
    stream("bad JSON in an event", FIRST, b"data: {oh no\n\n", LAST, DONE),
    stream("comments", b": hello\n\n", FIRST, b": still here\n\n", SECOND, LAST, DONE),
    stream("CRLF", *CRLF),
    stream("terminator late", FIRST, SECOND, LAST, DONE, end=[stall(1.0), LAST_CHUNK, fin]),
    asked_to_stream("stream answered whole", ANSWER),
    asked_to_stream("stream refused", REFUSED),
    asked_to_stream("stream overloaded", OVERLOADED, through=FEWER),
    asked_to_stream("stream answered in HTML", HTML, through=FAILED),
)
