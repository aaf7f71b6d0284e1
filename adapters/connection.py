"""One kept-alive HTTP/1.1 connection to a backend: sends one request, delivers one answer.

llhttp parses; what it lets through and we refuse stands in `_check_head` (WIRE section 4). A
broken answer is an `UpstreamError`, never an exception into the event loop. Body bytes are
delivered de-chunked, all pieces of one read together. Bytes behind the end of an answer belong
to nobody: the answer is delivered, the connection is not used again. The connection goes back to
its pool before the listener hears of the end, so the listener may start the next call at once.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast

import httptools

from .errors import Kind, UpstreamError
from .headers import HeaderRule
from .known_head import KnownHead, known_head
from .read_buffer import BUFFER

HEAD_BYTES_MAX: Final = 64 * 1024
HEADERS_MAX: Final = 200
INFORMATIONAL_MAX: Final = 8
UNSEEN_BYTES_MAX: Final = 64 * 1024
"""Trailers and chunk extensions: bytes of a body's framing that come without any of its body."""

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class ResponseHead:
    """Status and headers of an answer; header names are in lower case."""

    status: int
    headers: Headers
    is_framed: bool
    """Its end is marked (length or chunks); else only the connection's end shows it."""
    coding: bytes | None = None
    """Its content-encoding."""
    is_event_stream: bool = False
    _shown: tuple[bytes, frozenset[bytes]] | None = None

    def shown(self, rule: HeaderRule) -> tuple[bytes, frozenset[bytes]]:
        """The lines a client sees of it by its backend's `rule`, and the names in them.

        Kept, since a head may serve many answers.
        """
        if self._shown is None:
            kept = rule.kept(self.headers)
            lines = b"".join([b"%b: %b\r\n" % header for header in kept])
            self._shown = lines, frozenset(name for name, _ in kept)
        return self._shown

    def header(self, name: bytes) -> bytes | None:
        """The first value of header `name` (lower case)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Listener(Protocol):
    """Who asked. After `on_data(is_end=True)` or `on_failure` nothing more comes."""

    def on_head(self, head: ResponseHead) -> None: ...
    def on_data(self, data: bytes, *, is_end: bool) -> None: ...
    def on_failure(self, error: UpstreamError) -> None: ...


class BodySource(Protocol):
    """Whoever sends the body of a request piece by piece, behind its head."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


class UpstreamConnection(asyncio.BufferedProtocol):
    """States: idle (no listener), waiting (sent, no head yet), answering, closed."""

    __slots__ = (
        "_head",
        "_head_before",
        "_head_bytes",
        "_headers",
        "_informational",
        "_is_head_new",
        "_is_message_complete",
        "_is_persistent",
        "_known",
        "_listener",
        "_on_idle",
        "_parser",
        "_pieces",
        "_repeats_heads",
        "_source",
        "_transport",
        "_unseen_bytes",
        "has_received",
        "idle_since_s",
        "is_open",
        "uses",
    )

    def __init__(self, on_idle: Callable[["UpstreamConnection"], None]) -> None:
        self._on_idle = on_idle
        self._known: KnownHead | None = None
        self._head_before: ResponseHead | None = None
        """What was read of `_known`, once the answer was found good."""
        self._repeats_heads = True
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._listener: Listener | None = None
        self._head: ResponseHead | None = None
        self._headers: Headers = []
        self._head_bytes = 0
        self._informational = 0
        self._pieces: list[bytes] = []
        self._unseen_bytes = 0
        self._is_head_new = False
        self._is_message_complete = False
        self._is_persistent = False
        self._source: BodySource | None = None
        self.has_received = False
        self.is_open = False
        self.idle_since_s = 0.0
        self.uses = 0

    def __repr__(self) -> str:
        state = "closed" if not self.is_open else "idle" if self._listener is None else "busy"
        return f"<UpstreamConnection {state} uses={self.uses}>"

    # -- what the pool and the call use -------------------------------------------------------

    def send(self, payload: bytes, listener: Listener, source: BodySource | None = None) -> None:
        """Send one whole request (head and body); `listener` hears of its answer.

        Only on an open, idle connection. With a `source`, `payload` is the head alone: the body
        follows through `send_more`, up to `sent_all`.
        """
        assert self._transport is not None
        assert self._listener is None
        self._listener = listener
        self._head = None
        self._headers = []
        self._head_bytes = 0
        self._informational = 0
        self._unseen_bytes = 0
        self._is_message_complete = False
        self.has_received = False
        self.uses += 1
        self._source = source
        self._transport.write(payload)

    def send_more(self, data: bytes) -> None:
        """A piece of the body. The source is told to pause where the backend does not take it."""
        if self._transport is not None and self.is_open:
            self._transport.write(data)

    def sent_all(self) -> None:
        """The body is whole."""
        self._source = None

    def abort(self) -> None:
        """Reset the connection at once: the backend stops generating. Nobody hears of it."""
        self._listener = None
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Stop reading the answer: the client is slower than the backend."""
        if self._transport is not None and self.is_open:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on after `pause_reading`."""
        if self._transport is not None and self.is_open:
            self._transport.resume_reading()

    # -- asyncio.BufferedProtocol -------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(BUFFER[:nbytes]))

    def pause_writing(self) -> None:
        if self._source is not None:
            self._source.pause()

    def resume_writing(self) -> None:
        if self._source is not None:
            self._source.resume()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop registers no base class
        self._transport = transport
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._listener is None:
            self.abort()  # bytes nobody asked for: an answer to nothing, never reuse
            return
        if self._head is None:
            if not self.has_received and self._take_known(data):
                return
            self._head_bytes += len(data)
        self.has_received = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_persistent = False
            if not self._is_message_complete:
                self._fail("protocol", "switched protocols unasked")
                return
        except httptools.HttpParserError as error:
            self._is_persistent = False
            if not self._is_message_complete:
                self._fail("protocol", _reason(error))
                return
        if self._head is None and self._head_bytes > HEAD_BYTES_MAX:
            self._fail("protocol", f"header block larger than {HEAD_BYTES_MAX} bytes")
            return
        self._deliver(len(data))

    def eof_received(self) -> bool:
        self._end_of_connection(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_of_connection(exc)

    # -- httptools callbacks ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_message_complete:  # a second answer in one read: the first is not spoilt
            raise UpstreamError("protocol", "bytes after the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is None:  # else a trailer: dropped, never merged
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._informational += 1
            self._headers = []
            if self._informational > INFORMATIONAL_MAX:
                raise UpstreamError("protocol", "too many interim answers")
            return
        self._head = self._check_head(status)
        self._is_head_new = True
        self._is_persistent = self._parser.should_keep_alive()  # false where not framed

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._head is not None:
            self._is_message_complete = True

    # -- inside -------------------------------------------------------------------------------

    def _take_known(self, data: bytes) -> bool:
        """Deliver an answer that is here whole and has the head of the one before."""
        head, known = self._head_before, self._known
        body = None if head is None or known is None else known.body_of(data)
        if head is None or body is None:
            self._head_before = None
            self._known = known_head(data) if self._repeats_heads else None
            return False
        listener = self._listener
        assert listener is not None
        self._head = head
        self.has_received = True
        self._is_persistent = True
        listener.on_head(head)
        if self._listener is listener:
            self._become_idle()
            listener.on_data(body, is_end=True)
        return True

    def _remember_head(self) -> None:
        """The answer that was just parsed is whole: its head, if it came first, is known now."""
        head = self._head
        if head is None or head.status != 200 or not self._is_persistent or self._informational:
            return
        if self._head_before is None:
            self._repeats_heads = head.header(b"x-request-id") is None
            self._head_before = head if self._repeats_heads else None

    def _check_head(self, status: int) -> ResponseHead:
        if self._parser.get_http_version() not in ("1.1", "1.0") or not 200 <= status <= 599:
            raise UpstreamError("protocol", "not an HTTP/1.1 answer")
        if len(self._headers) > HEADERS_MAX:
            raise UpstreamError("protocol", f"more than {HEADERS_MAX} headers")
        if self._head_bytes > HEAD_BYTES_MAX and self._header_bytes() > HEAD_BYTES_MAX:
            raise UpstreamError("protocol", f"header block larger than {HEAD_BYTES_MAX} bytes")
        is_framed = status in (204, 304)
        coding, is_event_stream = None, False
        for name, value in self._headers:
            if name == b"transfer-encoding":
                if value.lower() != b"chunked":
                    raise UpstreamError("protocol", "unknown transfer-encoding")
                is_framed = True
            elif name == b"content-length":
                is_framed = True
            elif name == b"content-encoding":
                coding = value if coding is None else b"%b, %b" % (coding, value)
            elif name == b"content-type":
                is_event_stream = value.lower().startswith(b"text/event-stream")
        return ResponseHead(status, self._headers, is_framed, coding, is_event_stream)

    def _header_bytes(self) -> int:
        return sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _deliver(self, read_bytes: int) -> None:
        listener = self._listener
        if listener is None or self._head is None:
            return
        if self._is_head_new:
            self._is_head_new = False
            listener.on_head(self._head)
            if self._listener is not listener:
                return
        pieces = self._pieces
        is_end = self._is_message_complete
        if not pieces and not is_end:
            self._count_unseen(read_bytes)
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._unseen_bytes = 0
        if is_end:
            if self._known is not None:
                self._remember_head()
            self._become_idle()
        listener.on_data(data, is_end=is_end)

    def _count_unseen(self, read_bytes: int) -> None:
        self._unseen_bytes += read_bytes
        if self._unseen_bytes > UNSEEN_BYTES_MAX:
            self._fail("protocol", "endless framing without a body")

    def _become_idle(self) -> None:
        self._listener = None
        if self._is_persistent and self._source is None:
            self._on_idle(self)
        elif self._transport is not None:
            self.is_open = False
            self._transport.abort()

    def _end_of_connection(self, exc: Exception | None) -> None:
        self.is_open = False
        listener, self._listener = self._listener, None
        if listener is None:
            return
        if self._head is not None and not self._head.is_framed and exc is None:
            listener.on_data(b"", is_end=True)
        elif self.has_received:
            listener.on_failure(UpstreamError("cut" if self._head else "reset", _lost(exc)))
        else:
            kind: Kind = "stale" if self.uses > 1 else "reset"
            listener.on_failure(UpstreamError(kind, _lost(exc)))

    def _fail(self, kind: Kind, message: str) -> None:
        listener = self._listener
        self.abort()
        if listener is not None:
            listener.on_failure(UpstreamError(kind, message))


def _reason(error: httptools.HttpParserError) -> str:
    """Our own refusal if a callback raised it, else the parser's words."""
    cause = error.__cause__ or error.__context__
    return str(cause if isinstance(cause, UpstreamError) else error)


def _lost(exc: Exception | None) -> str:
    return "the backend closed the connection" if exc is None else f"connection lost: {exc}"
