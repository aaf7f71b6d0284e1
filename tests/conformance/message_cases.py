"""The rows of the matrix in Anthropic's protocol."""

import json
from collections.abc import Sequence

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
    stream,
    transport_cases,
    whole,
)
from tests.support.scripted import fin, reset, response, stall


def event(type: str, **fields: object) -> bytes:
    """One event."""
    data = json.dumps({"type": type, **fields})
    return f"event: {type}\ndata: {data}\n\n".encode()


def message(content: Sequence[object], stop: str | None) -> dict[str, object]:
    """A message."""
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": content, "stop_reason": stop, "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 5}}  # fmt: skip


def delta(text: str) -> bytes:
    """A piece of the text."""
    piece = {"type": "text_delta", "text": text}
    return event("content_block_delta", index=0, delta=piece)


def refusal(status: str, *headers: str, type: str = "said_by_backend") -> bytes:
    """An error in Anthropic's shape."""
    error = {"type": "error", "error": {"type": type, "message": "said by the backend"}}
    return response(json.dumps(error).encode(), CLOSE, *headers, status=status)


MESSAGE = response(json.dumps(message([{"type": "text", "text": "hello"}], "end_turn")).encode(),
                   CLOSE)  # fmt: skip
BLOCK = {"type": "text", "text": ""}
BEGIN = (
    event("message_start", message=message([], None)),
    event("content_block_start", index=0, content_block=BLOCK),
    event("ping"),
    delta("he"),
    delta("llo"),
)
END = (
    event("content_block_stop", index=0),
    event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None},
                   usage={"output_tokens": 5}),
    event("message_stop"),
)  # fmt: skip
MESSAGE_ERROR = event("error", error={"type": "overloaded_error", "message": "m"})
MESSAGE_OVERLOADED = refusal("529 Overloaded", type="overloaded_error")

MESSAGE_CASES = (
    whole("one 529, then an answer", MESSAGE_OVERLOADED, MESSAGE, through=ANSWERED),
    *transport_cases(MESSAGE),
    whole("nothing", MESSAGE),
    *(whole(f"status {status[:3]}", refusal(status)) for status in PASSED_ON),
    *(whole(f"status {status[:3]}", refusal(status), through=FEWER)
      for status in RETRIED),
    whole("status 401", refusal("401 Unauthorized"), through=OUR_KEY),
    whole("429 + retry-after", refusal("429 Too Many", "retry-after: 0.05"),
           through=FEWER),
    stream("stream", *BEGIN, *END),
    stream("no message_stop", *BEGIN, through=CUT),
    stream("closed in the middle", *BEGIN, end=[fin], through=CUT),
    stream("reset in the middle", *BEGIN, end=[stall(0.1), reset], through=CUT),
    stream("error event", *BEGIN, MESSAGE_ERROR),
    stream("comments", b": hello\n\n", *BEGIN, b": still here\n\n", *END),
    stream("CRLF", *(one.replace(b"\n", b"\r\n") for one in (*BEGIN, *END))),
    asked_to_stream("stream refused", refusal("400 Bad Request")),
    asked_to_stream("stream overloaded", MESSAGE_OVERLOADED, through=FEWER),
    asked_to_stream("stream answered in HTML", HTML, through=FAILED),
)  # fmt: skip
