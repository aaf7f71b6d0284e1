"""The bytes of an answer around its body: head, `x-pointsman-*` lines, framing.

Functions over an exchange: they read what it knows, keep the body on its tape, and send nothing.
"""

import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from . import errors
from .attempt import Attempt
from .errors import Shape
from .heads import LAST_CHUNK, Header, chunk, header_lines, response_head
from .recording import total_cost_usd
from .relay import without_done

if TYPE_CHECKING:
    from .exchange import Exchange

monotonic: Final = time.monotonic

EVENT_LINES: Final = b"cache-control: no-cache\r\nx-accel-buffering: no\r\n"
REQUEST_ID_CHARACTERS_MAX: Final = 128
_REQUEST_IDS: Final[dict[Shape, tuple[bytes, ...]]] = {
    "openai": (b"x-request-id",),
    "anthropic": (b"x-request-id", b"request-id"),
}


def answer_head(exchange: "Exchange", attempt: Attempt, *, length: int | None) -> bytes:
    """The head of a backend's answer; `length` None where its end is not known yet.

    Only a whole answer carries its cost: a stream's head leaves before that is known.
    """
    assert attempt.head is not None
    measure_overhead(exchange)
    shown, names = attempt.head.shown(attempt.target.to_downstream)
    lines = shown + own_lines(exchange, attempt)
    if attempt.is_streaming:
        lines += EVENT_LINES
    if length is not None:
        exchange.cost_usd = total_cost_usd(exchange.attempts)
        if exchange.cost_usd is not None:
            lines += b"x-pointsman-cost-usd: %b\r\n" % decimal(exchange.cost_usd)
    return head_bytes(exchange, 200, lines + request_id_line(exchange, names), length)


def stream_end(exchange: "Exchange", attempt: Attempt, tail: bytes) -> bytes:
    """The last bytes of a whole stream: the head too where nothing was sent before."""
    head = b"" if exchange.head_sent_s else answer_head(exchange, attempt, length=None)
    if tail:
        exchange.tape.add(tail)
    return head + framed(exchange, tail) + terminator(exchange)


def cut_end(exchange: "Exchange", attempt: Attempt, tail: bytes) -> bytes:
    """The last bytes of a stream that its backend cut: an error event and no terminator."""
    events = without_done(tail)
    if attempt.reader.error is None:  # else the backend has told it already
        assert exchange.endpoint is not None
        events += exchange.endpoint.cut_event(attempt.reader)
    exchange.tape.add(events)
    head = b"" if exchange.head_sent_s else answer_head(exchange, attempt, length=None)
    return head + framed(exchange, events)


def error_answer(
    exchange: "Exchange",
    attempt: Attempt | None,
    status: int,
    headers: Sequence[Header],
    body: bytes,
) -> bytes:
    """A whole error: a backend's, or one of ours."""
    if exchange.decision is not None:
        measure_overhead(exchange)
    lines = header_lines(headers) + own_lines(exchange, attempt)
    lines += request_id_line(exchange, {name for name, _ in headers})
    return head_bytes(exchange, status, lines, len(body)) + body


def unrecorded(exchange: "Exchange") -> bytes:
    """Under `fail_closed` an answer that cannot be kept is not given."""
    exchange.client.closes = True
    if exchange.head_sent_s is not None:
        return b""  # the stream ends without its terminator
    error = errors.capture_unavailable()
    body = error.body(exchange.shape, request_id(exchange))
    headers = [(b"content-type", b"application/json"), *error.headers]
    lines = header_lines(headers) + request_id_line(exchange, {name for name, _ in headers})
    return head_bytes(exchange, error.status, lines, len(body)) + body


def framed(exchange: "Exchange", data: bytes) -> bytes:
    """Body bytes as this client's protocol wants them."""
    return data if exchange.head.is_http_10 or not data else chunk(data)


def terminator(exchange: "Exchange") -> bytes:
    """What ends a body of unknown length."""
    return b"" if exchange.head.is_http_10 else LAST_CHUNK


def head_bytes(exchange: "Exchange", status: int, lines: bytes, length: int | None) -> bytes:
    """A head from its lines."""
    head = exchange.head
    if length is None and head.is_http_10:
        exchange.client.closes = True  # only the connection's end marks the body's
    return response_head(
        status,
        lines,
        date=exchange.plane.date,
        length=length,
        head=head,
        closes=exchange.client.closes_behind(head),
    )


def own_lines(exchange: "Exchange", attempt: Attempt | None) -> bytes:
    """`x-pointsman-*`: on every answer for which a decision was made."""
    decision = exchange.decision
    lines = b"x-pointsman-decision-id: %b\r\n" % exchange.id.encode()
    if decision is None:
        return lines
    edited = () if attempt is None else attempt.prepared.edited
    key = (decision.route.name, None if attempt is None else attempt.backend.name, edited)
    lines += exchange.wiring.answer_lines.get(key) or exchange.wiring.make_answer_lines(key)
    attempts = str(len(exchange.attempts)).encode()
    lines += b"x-pointsman-attempts: %b\r\n" % attempts
    if exchange.overhead_us is not None:
        lines += b"x-pointsman-overhead-us: %b\r\n" % str(exchange.overhead_us).encode()
    if attempt is not None and attempt.confidence is not None:
        lines += b"x-pointsman-confidence: %.4f\r\n" % attempt.confidence
    return lines


def request_id(exchange: "Exchange") -> str:
    """Our own name for an answer, told where the backend gave none."""
    return f"req_{exchange.id.replace('-', '')}"


def request_id_line(exchange: "Exchange", sent: Collection[bytes]) -> bytes:
    """Our own `x-request-id` where the backend `sent` none; Anthropic's clients look for theirs."""
    lines = b""
    for name in _REQUEST_IDS[exchange.shape]:
        if name not in sent:
            lines += b"%b: %b\r\n" % (name, request_id(exchange).encode())
    return lines


def measure_overhead(exchange: "Exchange") -> None:
    """Our own time up to the head: all of it, less what was spent waiting for backends."""
    elapsed_s, attempts = monotonic() - exchange.arrival_s, exchange.attempts
    if len(attempts) == 1:
        elapsed_s -= attempts[0].waited_s
    else:
        elapsed_s -= union_s([(one.started_s, one.waited_s) for one in attempts])
    exchange.overhead_us = max(0, int(elapsed_s * 1e6))


def union_s(spans: Sequence[tuple[float, float]]) -> float:
    """How long (start, length) in the order of their starts are together; no time counts twice."""
    total_s = until_s = 0.0
    for start_s, length_s in spans:
        end_s = start_s + length_s
        if end_s > until_s:
            total_s += end_s - max(until_s, start_s)
            until_s = end_s
    return total_s


def decimal(value: float) -> bytes:
    """US dollars without an exponent, to a thousandth of a millionth."""
    return (f"{value:.9f}".rstrip("0").rstrip(".") or "0").encode()


def clean_request_id(value: bytes) -> str | None:
    """A client's own id, kept for the record: at most 128 of `[A-Za-z0-9._-]`."""
    text = value[: 4 * REQUEST_ID_CHARACTERS_MAX].decode("ascii", "ignore")
    kept = "".join(one for one in text if one.isalnum() or one in "._-")
    return kept[:REQUEST_ID_CHARACTERS_MAX] or None
