"""The downstream protocol: one client connection, its requests in order, its limits in time.

The reader (request_reader.py) takes bytes apart; here stands when each request is served and how
long one waits. A request is read to its end before anything is decided, so a fault late in the
body still gets its own answer. Pipelined requests wait their turn in `_queue`. A client's FIN
counts as gone, as nginx, HAProxy and Envoy take it: whoever still waits for a backend is told
at once. A streamed body is handed over piece by piece to whoever serves it, who may pause reading.

Phases of a connection: idle -> header -> body -> serving -> idle. It ends in closing, or in
lingering where an answer was given before the request had been read to its end.
"""

import asyncio
from collections import deque
from typing import Final, Literal, Protocol, cast

import httptools

from adapters.known_head import KnownHead, known_head

from . import errors
from .errors import DownstreamError
from .framing import Refused, check_length
from .heads import RequestHead
from .request_reader import RequestReader
from .unread import has_unread

STREAMED_BYTES_MAX: Final = 16 << 30
"""Of one body that is handed on and never held; twice what OpenAI takes in one upload."""
PIPELINED_MAX: Final = 16
"""Requests read ahead of the one being answered; beyond it the socket is not read."""

HEADER_TIMEOUT_S: Final = 10.0
BODY_TIMEOUT_S: Final = 30.0
BODY_PROGRESS_BYTES: Final = 16 * 1024
"""A body that brings less in BODY_TIMEOUT_S makes no progress: 550 bytes a second, Apache's
least. Any byte would let a drip hold its connection for years."""
KEEP_ALIVE_S: Final = 75.0
LINGER_S: Final = 1.0
WRITE_STALL_S: Final = 60.0
"""A client that takes nothing of what it was sent for so long is gone."""

_STAYS_OPEN: Final = frozenset({b"keep-alive"})
_NEVER_KNOWN: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})

Phase = Literal["idle", "header", "body", "serving", "lingering", "closing"]
TIMEOUTS_S: Final[dict[Phase, float]] = {
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
    streams_body: bool
    """It is a `Streamed`: its turn comes before its body is here."""

    def begin(self, body: bytes) -> None: ...
    def refuse(self, error: DownstreamError) -> None: ...
    def client_gone(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Streamed(Served, Protocol):
    """One that takes its body piece by piece, perhaps before `begin`. May not raise."""

    def body_read(self, data: bytes) -> None: ...
    def body_ended(self) -> None: ...
    def body_failed(self, error: DownstreamError) -> None: ...


class Server(Protocol):
    """What the connection needs of the data plane."""

    body_bytes_max: int

    @property
    def wiring(self) -> object:
        """Another one where heads are to be read anew."""

    def open(self, client: "DownstreamProtocol", head: RequestHead) -> Served: ...
    def connected(self, client: "DownstreamProtocol") -> None: ...
    def disconnected(self, client: "DownstreamProtocol") -> None: ...


class DownstreamProtocol(asyncio.Protocol):
    """One connection of one client."""

    __slots__ = (
        "_current",
        "_drops_rest",
        "_head_before",
        "_is_lost",
        "_is_paused",
        "_is_reading_paused",
        "_is_serving",
        "_known",
        "_known_wiring",
        "_loop",
        "_marked_bytes",
        "_owes_continue",
        "_phase",
        "_queue",
        "_reader",
        "_server",
        "_since_s",
        "_stall_timer",
        "_streamed",
        "_timer",
        "_transport",
        "closes",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._reader = RequestReader(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._phase: Phase = "idle"
        self._since_s = 0.0
        self._marked_bytes = 0
        """Of the body that comes, when it last made progress."""
        self._queue: deque[tuple[Served, RequestHead, bytes | DownstreamError]] = deque()
        self._current: Served | None = None
        self._streamed: Streamed | None = None
        """Whose body is arriving piece by piece."""
        self._drops_rest = False
        """An answer was given before its request had been read to the end."""
        self._is_reading_paused = False
        self._is_paused = False
        self._is_lost = False
        self._is_serving = False
        self._known: KnownHead | None = None
        self._head_before: RequestHead | None = None
        """What was read of `_known`, once it was found good."""
        self._known_wiring: object = None
        self._owes_continue = False
        self.closes = False
        """The connection closes behind the answer being given."""

    def __repr__(self) -> str:
        return f"<DownstreamProtocol {self._phase} queued={len(self._queue)}>"

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
            self._read_first(data)
        elif self._phase == "lingering" or self._drops_rest:
            return  # answered already; what still comes is dropped
        else:
            self._read(data)
        self._serve_front()
        if self._phase in ("header", "body"):
            self._request_is_unfinished()
        if len(self._queue) > PIPELINED_MAX and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._lose()
        self._close()  # what it does not take any more is not waited for
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
        served = self._queue.popleft()[0] if self._queue else None
        if self._is_lost:
            return
        if served is not None and served is self._streamed:
            self._stop_streaming()
            keeps_alive = False
        if not keeps_alive or (self.closes and not self._queue):
            self._close_behind_answer()
        elif self._queue:
            self._loop.call_soon(self._serve_front)
        elif self._phase == "serving":
            self._next_request()
        elif self._owes_continue:
            self._say_continue()
        is_room = len(self._queue) == PIPELINED_MAX and not self._is_reading_paused
        if is_room and self._transport is not None:
            self._transport.resume_reading()

    def say_continue(self) -> None:
        """Ask for the body, where the client waits to be asked."""
        if self._owes_continue:
            self._say_continue()

    def pause_reading(self) -> None:
        """The body that is streamed comes faster than it can be handed on."""
        if self._transport is not None and not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on after `pause_reading`."""
        if self._transport is not None and self._is_reading_paused:
            self._is_reading_paused = False
            self._since_s = self._loop.time()  # the pause was not the client's
            if len(self._queue) <= PIPELINED_MAX:
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
        """Close when idle and nothing is on its way, or behind the answer being given."""
        self.closes = True
        is_idle = self._phase == "idle" and not self._queue
        if is_idle and self._transport is not None and not has_unread(self._transport):
            self._close()

    # -- what the reader tells ----------------------------------------------------------------

    def head_read(self, head: RequestHead) -> bool:
        """The head of a request is here. Raises Refused."""
        self._current = current = self._server.open(self, head)
        if current.streams_body:
            self._reader.body_bytes_max = STREAMED_BYTES_MAX
        check_length(head, self._reader.body_bytes_max)
        if current.streams_body:
            return self._stream(cast(Streamed, current), head)
        if self._known is not None and self._head_before is None:
            self._keep_head(head)
        self._owes_continue = b"expect" in head.fields and not head.is_http_10
        if self._owes_continue and not self._queue:
            self._say_continue()
        self._enter("body")
        return current.keeps_body

    def body_read(self, data: bytes) -> None:
        """A piece of a streamed body."""
        if self._streamed is not None:
            self._streamed.body_read(data)

    def request_read(self, head: RequestHead, body: bytes) -> None:
        """A request is here, whole."""
        if self._streamed is not None:
            streamed, self._streamed = self._streamed, None
            self._reader.body_bytes_max = self._server.body_bytes_max
            self._owes_continue = False
            self._enter("serving")
            streamed.body_ended()
            return
        current, self._current = self._current, None
        if current is None:
            return  # answered in the middle of its body
        self._owes_continue = False
        self._enter("serving")
        self._enqueue(current, head, body)

    # -- inside: reading ----------------------------------------------------------------------

    def _take_known(self, data: bytes) -> bool:
        """Serve a request that is here whole and has the head of the one before."""
        head, known = self._head_before, self._known
        if head is None or known is None or self._known_wiring is not self._server.wiring:
            self._await_head(data)
            return False
        body = known.body_of(data)
        if body is None or len(body) > self._server.body_bytes_max:
            self._await_head(data)
            return False
        self._enter("serving")
        served = self._server.open(self, head)
        self._enqueue(served, head, body if served.keeps_body else b"")
        self._serve_front()
        return True

    def _await_head(self, data: bytes) -> None:
        """The parser reads on; what it finds good at the beginning of `data` will be known."""
        self._head_before = None
        self._known = known_head(data)
        self._known_wiring = self._server.wiring

    def _keep_head(self, head: RequestHead) -> None:
        if is_repeatable(head):
            self._head_before = head
        else:
            self._known = None  # nor is the one behind it in the same read, which is another's

    def _read_first(self, data: bytes) -> None:
        """Bytes on an idle connection: a request begins, unless they are but stray line ends."""
        idle_since_s = self._since_s
        self._enter("header")
        self._read(data)
        if self._phase == "header" and not self._reader.has_begun:
            self._phase, self._since_s = "idle", idle_since_s

    def _read(self, data: bytes) -> None:
        if self._streamed is None:
            self._reader.body_bytes_max = self._server.body_bytes_max
        try:
            self._reader.feed(data)
        except Refused as refused:
            self._refuse(refused.error)
        except httptools.HttpParserUpgrade:
            self.closes = True  # what is queued is served, nothing behind it
        except httptools.HttpParserError:
            if self._queue and not self._queue[-1][1].keeps_alive:
                self.closes = True  # bytes behind `Connection: close`
            else:
                self._refuse(errors.framing("This is not a well-formed HTTP/1.1 request."))

    def _stream(self, streamed: Streamed, head: RequestHead) -> bool:
        """Serve a request whose body is still to come; it asks for it when it wants it."""
        self._current = None
        self._streamed = streamed
        self._known = None  # a known head's body is taken whole
        self._owes_continue = b"expect" in head.fields and not head.is_http_10
        self._reader.streams_body = True
        self._enter("body")
        self._enqueue(streamed, head, b"")
        return False

    def _stop_streaming(self) -> None:
        """The answer is given before the body is here: what still comes of it is dropped."""
        self._streamed = None
        self._drops_rest = True
        self.resume_reading()

    def _say_continue(self) -> None:
        self._owes_continue = False
        self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, error: DownstreamError) -> None:
        """Answer `error` when its turn comes; nothing more is read from this connection."""
        self._drops_rest = True
        self.closes = True
        if self._streamed is not None:
            streamed, self._streamed = self._streamed, None
            self._enter("serving")
            streamed.body_failed(error)
            return
        head = self._reader.head or _nameless_head(self._reader.target)
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

    def _close_behind_answer(self) -> None:
        """Close; linger while the client may still be sending, lest a reset eat the answer."""
        self._lose()  # what was asked behind this one is not answered any more
        transport = self._transport
        if transport is None:
            return
        if not self._drops_rest or not transport.can_write_eof():
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
        self._streamed = None  # it waits in the queue
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
        self._marked_bytes = 0

    def _next_request(self) -> None:
        """The last answer is given; some of the next request may be here already."""
        self._enter("header" if self._reader.has_begun else "idle")
        if self._reader.has_begun:
            self._request_is_unfinished()

    def _request_is_unfinished(self) -> None:
        body_bytes = self._reader.body_bytes
        if self._phase == "body" and body_bytes - self._marked_bytes >= BODY_PROGRESS_BYTES:
            self._marked_bytes = body_bytes
            self._since_s = self._loop.time()
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
        elif self._phase == "body" and self._is_reading_paused:
            self._arm(now_s + TIMEOUTS_S["body"])  # who paused it watches it
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


def is_repeatable(head: RequestHead) -> bool:
    """Whether a head says nothing about its own connection but that it stays open."""
    if head.method != b"POST" or head.is_http_10 or not head.keeps_alive:
        return False  # a GET must have no body, whatever its length says
    if head.connection_named - _STAYS_OPEN:
        return False
    return not any(name in _NEVER_KNOWN for name in head.fields)


def _nameless_head(target: bytes) -> RequestHead:
    """A head for the answer to something that never became a request."""
    return RequestHead(b"", target[:64], [], is_http_10=False, keeps_alive=False)
