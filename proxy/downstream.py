"""The downstream protocol: one client connection, its requests in order, its limits in time.

llhttp parses; what it lets through and we must refuse (WIRE section 4) stands in `_check_head`.
A request is read to its end before anything is decided, so a fault late in the body still gets
its own answer. Pipelined requests wait their turn in `_queue`. A client's FIN counts as gone,
as nginx, HAProxy and Envoy take it: whoever still waits for a backend is told at once.

Phases of a connection: idle -> header -> body -> serving -> idle. It ends in closing, or in
lingering where an answer was given before the request had been read to its end.
"""

import asyncio
from collections import deque
from typing import Literal, Protocol, cast

import httptools

from . import errors
from .errors import DownstreamError
from .heads import RequestHead

TARGET_BYTES_MAX = 8 * 1024
HEAD_BYTES_MAX = 64 * 1024
HEADERS_MAX = 100
CHUNK_LINE_BYTES_MAX = 256
LENGTH_DIGITS_MAX = 9
KNOWN_HEADS_MAX = 1024
"""Heads remembered by a worker; many more different ones than that are not worth keeping."""
_LENGTH = b"\r\nContent-Length: "
_LENGTH_LOWER = b"\r\ncontent-length: "
_NEVER_KNOWN = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection"})
PIPELINED_MAX = 16
"""Requests read ahead of the one being answered; beyond it the socket is not read."""

HEADER_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 75.0
LINGER_S = 1.0
WRITE_STALL_S = 60.0
"""A client that takes nothing of what it was sent for so long is gone."""

Phase = Literal["idle", "header", "body", "serving", "lingering", "closing"]
TIMEOUTS_S: dict[Phase, float] = {
    "idle": KEEP_ALIVE_S,
    "header": HEADER_TIMEOUT_S,
    "body": BODY_TIMEOUT_S,
    "serving": KEEP_ALIVE_S,
    "lingering": LINGER_S,
    "closing": WRITE_STALL_S,
}


class Served(Protocol):
    """What the connection needs of the exchange that serves one of its requests."""

    keeps_body: bool
    """False where the request is refused whatever its body says: it is read and dropped."""

    def begin(self, body: bytes) -> None: ...
    def refuse(self, error: DownstreamError) -> None: ...
    def client_gone(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Server(Protocol):
    """What the connection needs of the data plane."""

    body_bytes_max: int
    known_heads: dict[bytes, RequestHead]

    def open(self, client: "DownstreamProtocol", head: RequestHead) -> Served: ...
    def connected(self, client: "DownstreamProtocol") -> None: ...
    def disconnected(self, client: "DownstreamProtocol") -> None: ...


class _Refused(Exception):
    """Raised inside a parser callback to stop the parser; carries the answer."""

    def __init__(self, error: DownstreamError) -> None:
        super().__init__(error.message)
        self.error = error


class DownstreamProtocol(asyncio.Protocol):
    """One connection of one client."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_chunks",
        "_current",
        "_fed_bytes",
        "_has_begun",
        "_head",
        "_header_bytes",
        "_headers",
        "_is_lost",
        "_is_paused",
        "_is_serving",
        "_known_key",
        "_loop",
        "_owes_continue",
        "_parser",
        "_phase",
        "_queue",
        "_refusal",
        "_server",
        "_since_s",
        "_stall_timer",
        "_target",
        "_timer",
        "_transport",
        "closes",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._phase: Phase = "idle"
        self._since_s = 0.0
        self._queue: deque[tuple[Served, RequestHead, bytes | DownstreamError]] = deque()
        self._current: Served | None = None
        self._refusal: DownstreamError | None = None
        self._is_paused = False
        self._is_lost = False
        self._is_serving = False
        self._known_key: bytes | None = None
        self.closes = False
        """The connection closes behind the answer being given."""
        self._reset_message()

    def __repr__(self) -> str:
        return f"<DownstreamProtocol {self._phase} queued={len(self._queue)}>"

    def _reset_message(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._head: RequestHead | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._fed_bytes = 0
        self._chunks = 0
        self._has_begun = False
        self._owes_continue = False

    # -- asyncio.Protocol ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop registers no base class
        self._transport = transport
        self._enter("idle")
        self._arm(self._since_s + HEADER_TIMEOUT_S)
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
        if self._phase == "idle":
            if self._take_known(data):
                return
            self._enter("header")
        elif self._phase == "lingering" or self._refusal is not None:
            return  # answered already; what still comes is dropped
        self._fed_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._stop_reading_requests()
        except httptools.HttpParserError as error:
            self._parser_failed(error)
        self._check_framing_overhead()
        self._serve_front()
        if self._phase in ("header", "body"):
            self._request_is_unfinished()
        if len(self._queue) > PIPELINED_MAX and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._lose()
        self._close()  # over TLS a client may leave TCP open
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()
        for timer in (self._timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._stall_timer = None
        self._server.disconnected(self)

    def pause_writing(self) -> None:
        self._is_paused = True
        self._watch_writing()
        if self._queue:
            self._queue[0][0].pause()

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        if self._queue:
            self._queue[0][0].resume()
        self._serve_front()

    # -- what the exchange uses ---------------------------------------------------------------

    def closes_behind(self, head: RequestHead) -> bool:
        """Whether the connection ends with the answer to this request, the one in front."""
        return not head.keeps_alive or (self.closes and len(self._queue) <= 1)

    @property
    def is_lost(self) -> bool:
        """The client is gone; nothing can be written."""
        return self._is_lost

    def write(self, data: bytes) -> None:
        """Bytes to the client; silently nothing once it is gone."""
        if self._transport is not None and not self._is_lost:
            self._transport.write(data)

    def response_done(self, *, keeps_alive: bool) -> None:
        """The exchange in front has written its last byte."""
        self._is_serving = False
        if self._queue:
            self._queue.popleft()
        if self._is_lost:
            return
        if not keeps_alive or (self.closes and not self._queue):
            self._close_behind_answer()
        elif self._queue:
            self._loop.call_soon(self._serve_front)
        elif self._phase == "serving":
            self._next_request()
        elif self._owes_continue:
            self._say_continue()
        if self._transport is not None and len(self._queue) == PIPELINED_MAX:
            self._transport.resume_reading()

    def abort(self) -> None:
        """Reset the connection: a client that stopped reading."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close behind what was written, without a clean end of the message."""
        if self._transport is not None:
            self._transport.close()

    def drain(self) -> None:
        """Close when idle, or behind the answer being given."""
        self.closes = True
        if self._phase == "idle" and not self._queue:
            self._close()

    # -- httptools callbacks ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._has_begun = True
        if self._phase == "idle":
            self._enter("header")

    def on_url(self, target: bytes) -> None:
        self._target += target
        if len(self._target) > TARGET_BYTES_MAX:
            raise _Refused(errors.headers_too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is not None:
            return  # a trailer: dropped, never merged
        self._header_bytes += len(name) + len(value) + 4
        if len(self._headers) >= HEADERS_MAX or self._header_bytes > HEAD_BYTES_MAX:
            raise _Refused(errors.headers_too_large())
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        head = self._check_head()
        self._head = head
        self._current = self._server.open(self, head)
        self._check_length(head)
        if self._known_key is not None:
            self._remember(head)
        self._enter("body")

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > self._server.body_bytes_max:
            raise _Refused(errors.too_large(self._server.body_bytes_max))
        if self._current is not None and self._current.keeps_body:
            self._body.append(data)

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_message_complete(self) -> None:
        head, current = self._head, self._current
        if head is None or current is None:
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._current = None
        self._reset_message()
        self._enter("serving")
        self._enqueue(current, head, body)

    # -- inside: heads seen before ------------------------------------------------------------

    def _take_known(self, data: bytes) -> bool:
        """Serve a request that is here whole and whose head was parsed and checked before.

        A client sends the same head with every request but for the length. Everything else in
        it must be equal to the byte, so what was found good then is good now; parsing it again
        costs 8 us. Whatever is not exactly so goes through the parser.
        """
        self._known_key = None
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False  # nothing may be remembered by half of its bytes
        start = data.find(_LENGTH, 0, end)
        if start < 0 and (start := data.find(_LENGTH_LOWER, 0, end)) < 0:
            return False
        value = start + len(_LENGTH)
        stop = data.find(b"\r\n", value, end + 2)
        digits = data[value:stop]
        if not digits.isdigit() or len(digits) > LENGTH_DIGITS_MAX:
            return False
        key = data[:start] + data[stop:end]
        head = self._server.known_heads.get(key)
        if head is None:
            self._known_key = key
            return False
        body = data[end + 4 :]
        if len(body) != int(digits) or len(body) > self._server.body_bytes_max:
            return False
        self._enter("serving")
        served = self._server.open(self, head)
        self._enqueue(served, head, body if served.keeps_body else b"")
        self._serve_front()
        return True

    def _remember(self, head: RequestHead) -> None:
        """Keep a checked head by its bytes, for `_take_known`."""
        key, self._known_key = self._known_key, None
        if key is None or head.is_http_10 or not head.keeps_alive:
            return
        if any(name in _NEVER_KNOWN for name in head.fields):
            return
        known = self._server.known_heads
        if len(known) >= KNOWN_HEADS_MAX:
            known.clear()
        known[key] = head

    # -- inside: what is refused --------------------------------------------------------------

    def _check_head(self) -> RequestHead:
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise _Refused(errors.framing("Only HTTP/1.1 and HTTP/1.0 are spoken here."))
        target = self._target
        method = self._parser.get_method()
        if not target.startswith(b"/") or target.startswith(b"//") or method == b"CONNECT":
            raise _Refused(errors.framing("The request target must be a path."))
        head = RequestHead(
            method,
            target,
            self._headers,
            is_http_10=version == "1.0",
            keeps_alive=self._parser.should_keep_alive(),
        )
        self._check_headers(head)
        return head

    def _check_headers(self, head: RequestHead) -> None:
        hosts = 0
        is_chunked = False
        for name, value in head.headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                is_chunked = True
                if value.lower() != b"chunked" or head.is_http_10:
                    raise _Refused(errors.framing("This transfer-encoding is not accepted."))
            elif b"_" in name:
                raise _Refused(errors.framing("Header names with an underscore are refused."))
        if hosts > 1 or (hosts == 0 and not head.is_http_10):
            raise _Refused(errors.framing("Exactly one Host header is required."))
        has_body = is_chunked or (head.fields.get(b"content-length") or b"0") != b"0"
        if has_body and head.method in (b"GET", b"HEAD"):
            raise _Refused(errors.framing("A body is not accepted with this method."))

    def _check_length(self, head: RequestHead) -> None:
        length = head.fields.get(b"content-length")
        if length is not None and int(length) > self._server.body_bytes_max:
            raise _Refused(errors.too_large(self._server.body_bytes_max))
        expected = head.fields.get(b"expect")
        if expected is None or head.is_http_10:
            return
        if expected.lower() != b"100-continue":
            raise _Refused(errors.expectation_failed())
        self._owes_continue = True
        if not self._queue:
            self._say_continue()

    def _say_continue(self) -> None:
        self._owes_continue = False
        self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _check_framing_overhead(self) -> None:
        """Bound what llhttp swallows silently: an endless header, chunk extensions, trailers."""
        if self._refusal is not None:
            return
        overhead = self._fed_bytes - self._body_bytes
        if self._head is None:
            if overhead > HEAD_BYTES_MAX + TARGET_BYTES_MAX:
                self._refuse(errors.headers_too_large())
        elif overhead > HEAD_BYTES_MAX + TARGET_BYTES_MAX + self._chunks * CHUNK_LINE_BYTES_MAX:
            self._refuse(errors.framing("The chunks carry too much beside the body."))

    def _parser_failed(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__ or error.__cause__
        if isinstance(cause, _Refused):
            self._refuse(cause.error)
        elif cause is not None and not isinstance(cause, httptools.HttpParserError):
            raise cause
        elif not (self._queue and not self._queue[-1][1].keeps_alive):
            self._refuse(errors.framing("This is not a well-formed HTTP/1.1 request."))
        else:
            self._stop_reading_requests()  # bytes behind `Connection: close`

    def _refuse(self, error: DownstreamError) -> None:
        """Answer `error` when its turn comes; nothing more is read from this connection."""
        self._refusal = error
        head = self._head or _nameless_head(self._target)
        self.closes = True
        current = self._current or self._server.open(self, head)
        self._current = None
        self._enter("serving")
        self._enqueue(current, head, error)

    # -- inside: order and time ---------------------------------------------------------------

    def _enqueue(self, served: Served, head: RequestHead, what: bytes | DownstreamError) -> None:
        self._queue.append((served, head, what))

    def _serve_front(self) -> None:
        """Begin the request whose turn it is; never from inside the parser.

        It waits until the client has read most of the answer before, which bounds what is held.
        """
        if self._is_serving or not self._queue or self._is_lost or self._is_paused:
            return
        self._is_serving = True
        served, _, what = self._queue[0]
        if isinstance(what, DownstreamError):
            served.refuse(what)
        else:
            served.begin(what)

    def _stop_reading_requests(self) -> None:
        """Serve what is queued, then close: an Upgrade, or bytes behind `Connection: close`."""
        self.closes = True

    def _close_behind_answer(self) -> None:
        """Close; linger while the client may still be sending, lest a reset eat the answer."""
        self._lose()  # what was asked behind this one is not answered any more
        transport = self._transport
        if transport is None:
            return
        if self._refusal is None or not transport.can_write_eof():
            self._close()
            return
        self._enter("lingering")
        transport.write_eof()
        self._arm(self._since_s + TIMEOUTS_S["lingering"])

    def _close(self) -> None:
        """Close behind what was written; a client that does not take it is not waited for."""
        if self._transport is not None and self._phase != "closing":
            self._enter("closing")
            self._arm(self._since_s + TIMEOUTS_S["closing"])
            self._transport.close()

    def _lose(self) -> None:
        """Nothing more will be answered; whoever is still being served is told."""
        if self._is_lost:
            return
        self._is_lost = True
        waiting = [served for served, _, _ in self._queue]
        if self._current is not None:
            waiting.append(self._current)
            self._current = None
        for served in waiting:
            served.client_gone()
        self._queue.clear()

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._since_s = self._loop.time()

    def _next_request(self) -> None:
        """The last answer is given; some of the next request may be here already."""
        self._enter("header" if self._has_begun else "idle")
        if self._has_begun:
            self._request_is_unfinished()

    def _request_is_unfinished(self) -> None:
        if self._phase == "body":
            self._since_s = self._loop.time()  # any byte is progress
        self._arm(self._since_s + TIMEOUTS_S[self._phase])

    def _arm(self, due_s: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due_s, self._check_time)

    def _check_time(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        due_s = self._since_s + TIMEOUTS_S[self._phase]
        if now_s < due_s:
            self._arm(due_s)
        elif self._phase in ("header", "body"):
            self._refuse(errors.too_slow())
            self._serve_front()
        elif self._phase == "serving" or self._is_paused:
            self._arm(now_s + TIMEOUTS_S[self._phase])  # other limits hold there
        elif self._phase == "idle":
            self._close()
        else:
            self.abort()

    def _watch_writing(self) -> None:
        """The client has fallen behind: see later whether it reads on."""
        assert self._transport is not None
        waiting_bytes = self._transport.get_write_buffer_size()
        self._stall_timer = self._loop.call_later(WRITE_STALL_S, self._check_stall, waiting_bytes)

    def _check_stall(self, before_bytes: int) -> None:
        assert self._transport is not None
        if self._transport.get_write_buffer_size() < before_bytes:
            self._watch_writing()
        else:
            self.abort()


def _nameless_head(target: bytes) -> RequestHead:
    """A head for the answer to something that never became a request."""
    return RequestHead(b"", target[:64], [], is_http_10=False, keeps_alive=False)
