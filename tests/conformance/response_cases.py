"""The rows of the matrix in the Responses API."""

import json
from collections.abc import Mapping

from tests.conformance.cases import (
    ANSWERED,
    CLOSE,
    CUT,
    FAILED,
    FEWER,
    HTML,
    OUR_KEY,
    PASSED_ON,
    RETRIED,
    asked_to_stream,
    refusal,
    stream,
    transport_cases,
    whole,
)
from tests.support.scripted import fin, reset, response, stall

Json = Mapping[str, object]


def answer(status: str, text: str | None) -> Json:
    """A response with one message, or none."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": status,
               "content": content}  # fmt: skip
    return {"id": "resp_1", "object": "response", "created_at": 1, "model": "m",
            "status": status, "output": [] if text is None else [message], "tools": [],
            "parallel_tool_calls": True, "tool_choice": "auto", "error": None}  # fmt: skip


def event(type: str, number: int, **fields: object) -> bytes:
    """One event."""
    data = json.dumps({"type": type, "sequence_number": number, **fields})
    return f"event: {type}\ndata: {data}\n\n".encode()


def delta(text: str, number: int) -> bytes:
    """A piece of the text."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    return event("response.output_text.delta", number, delta=text, **place)


ANSWER = response(json.dumps(answer("completed", "hello")).encode(), CLOSE)
BEGIN = (
    event("response.created", 0, response=answer("in_progress", None)),
    delta("he", 1),
    delta("llo", 2),
)
END = event("response.completed", 3, response=answer("completed", "hello"))
INCOMPLETE = event("response.incomplete", 3, response=answer("incomplete", "hello"))
ERROR = event("error", 3, code="c", message="m", param=None)
OVERLOADED = refusal("503 Unavailable")

RESPONSE_CASES = (
    whole("one 503, then an answer", OVERLOADED, ANSWER, through=ANSWERED),
    *transport_cases(ANSWER),
    whole("nothing", ANSWER),
    *(whole(f"status {status[:3]}", refusal(status)) for status in PASSED_ON),
    *(whole(f"status {status[:3]}", refusal(status), through=FEWER) for status in RETRIED),
    whole("status 401", refusal("401 Unauthorized"), through=OUR_KEY),
    stream("stream", *BEGIN, END),
    stream("stream that ends incomplete", *BEGIN, INCOMPLETE),
    stream("no last event", *BEGIN, through=CUT),
    stream("closed in the middle", *BEGIN, end=[fin], through=CUT),
    stream("reset in the middle", *BEGIN, end=[stall(0.1), reset], through=CUT),
    stream("half an event", *BEGIN, END[:-30], through=CUT),
    stream("error event", *BEGIN, ERROR),
    stream("comments", b": hello\n\n", *BEGIN, b": still here\n\n", END),
    stream("CRLF", *(one.replace(b"\n", b"\r\n") for one in (*BEGIN, END))),
    asked_to_stream("stream refused", refusal("400 Bad Request")),
    asked_to_stream("stream overloaded", OVERLOADED, through=FEWER),
    asked_to_stream("stream answered in HTML", HTML, through=FAILED),
)
