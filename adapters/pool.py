"""The connections to one backend: kept alive, reused newest first, bounded.

`start` is O(1) whatever the number of connections. A call takes an idle connection, or waits
for a new one; more than `backend.in_flight_max` calls at once wait up to `queue_s`, oldest first,
and are refused with the kind `full`.
Addresses are resolved off the loop, once for all who wait. After `ADDRESSES_FRESH_S`, or when
none of them can be reached, they are looked up again while the old ones serve on, up to
`ADDRESSES_KEPT_S` where the name server does not answer: it holds up nobody. (The C library
tells no TTL; this is shorter than most.) Of several addresses each gets its share of the time;
the one that answered is asked first from then on.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol

from .backend import Backend
from .connection import BodySource, Listener, ResponseHead, UpstreamConnection
from .errors import UpstreamError
from .tls import TlsLayer

CONNECT_TIMEOUT_S: Final = 2.0
TLS_TIMEOUT_S: Final = 3.0
IDLE_MAX_S: Final = 55.0
"""Shorter than the 60 s after which common servers and load balancers hang up."""
IDLE_CONNECTIONS_MAX: Final = 1024
WAITING_MAX: Final = 1024
ADDRESSES_FRESH_S: Final = 10.0
ADDRESSES_KEPT_S: Final = 300.0
NEVER_BEFORE_S: Final = 0.0

Address = tuple[int, str, int]
"""Family, address and port."""


class StreamedBody(BodySource, Protocol):
    """The body of a call that is sent piece by piece. Never sent twice: its connection is new."""

    def opened(self) -> None:
        """The head is sent; `send_more` may follow."""


class Call:
    """One request on its way: waits for a connection, is sent, hears the answer.

    Ends with exactly one of `on_data(is_end=True)`, `on_failure`, or our own `abort()`. A
    kept-alive connection that turns out dead before a byte came is replaced once, silently.
    """

    __slots__ = (
        "_body",
        "_connecting",
        "_connection",
        "_listener",
        "_payload",
        "_pool",
        "served_at_once",
    )

    def __init__(
        self, pool: "Pool", payload: bytes, listener: Listener, body: StreamedBody | None = None
    ) -> None:
        self._pool = pool
        self._body = body
        self._payload = payload
        self._listener = listener
        self._connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self.served_at_once = 0
        """Calls this backend was serving when this one began, itself included."""

    def start(self, *, fresh: bool = False) -> None:
        """Send on an idle connection, or open one."""
        connection = None if fresh or self._body is not None else self._pool.take_idle()
        if connection is not None:
            self._connection = connection
            connection.send(self._payload, self)
        else:
            self._connecting = self._pool.spawn(self._connect())

    def refuse(self, error: UpstreamError) -> None:
        """There was no room for it in time."""
        self._listener.on_failure(error)

    def abort(self) -> None:
        """The answer is no longer wanted; the backend sees a reset at once."""
        self._pool.ended(self)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.abort()

    def send_more(self, data: bytes) -> None:
        """A piece of a streamed body."""
        if self._connection is not None:
            self._connection.send_more(data)

    def sent_all(self) -> None:
        """A streamed body is whole."""
        if self._connection is not None:
            self._connection.sent_all()

    def pause_reading(self) -> None:
        """Back-pressure from the client's side."""
        if self._connection is not None:
            self._connection.pause_reading()

    def resume_reading(self) -> None:
        """The client reads again."""
        if self._connection is not None:
            self._connection.resume_reading()

    async def _connect(self) -> None:
        try:
            connection = await self._pool.connect()
        except UpstreamError as error:
            self._connecting = None
            self._pool.ended(self)
            self._listener.on_failure(error)
            return
        self._connecting = None
        self._connection = connection
        connection.send(self._payload, self, self._body)
        if self._body is not None:
            self._body.opened()

    # -- Listener -----------------------------------------------------------------------------

    def on_head(self, head: ResponseHead) -> None:
        self._listener.on_head(head)

    def on_data(self, data: bytes, *, is_end: bool) -> None:
        if is_end:
            self._connection = None
            self._pool.ended(self)
        self._listener.on_data(data, is_end=is_end)

    def on_failure(self, error: UpstreamError) -> None:
        self._connection = None
        if error.kind == "stale":  # once: a fresh connection is never that
            self.start(fresh=True)
            return
        self._pool.ended(self)
        self._listener.on_failure(error)


class Pool:
    """All connections of one worker to one backend."""

    def __init__(
        self,
        backend: Backend,
        *,
        loop: asyncio.AbstractEventLoop,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.backend = backend
        self._loop = loop
        self._ssl_context = ssl_context
        self._idle: deque[UpstreamConnection] = deque()  # the longest idle first
        self._calls: set[Call] = set()
        self._waiting: dict[Call, asyncio.TimerHandle] = {}  # in the order they came
        self.queue_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._addresses: list[Address] = []
        self._addresses_until_s = NEVER_BEFORE_S
        self._found_s = NEVER_BEFORE_S
        self._why_not_found = ""
        self._resolving: asyncio.Task[None] | None = None
        self._is_closed = False
        self.connections_opened = 0

    def __repr__(self) -> str:
        return f"<Pool {self.backend.name} in_flight={self.in_flight} idle={len(self._idle)}>"

    @property
    def in_flight(self) -> int:
        """Calls begun and not ended."""
        return len(self._calls)

    def call(self, payload: bytes, listener: Listener, body: StreamedBody | None = None) -> Call:
        """Begin a call; with a `body` that is streamed, `payload` is its head.

        Raises UpstreamError of kind `full` at the backend's limit.
        """
        call = Call(self, payload, listener, body)
        if len(self._calls) < self.backend.in_flight_max:
            self._begin(call)
        elif self.queue_s > 0 and len(self._waiting) < WAITING_MAX:
            call.served_at_once = len(self._calls)
            self._waiting[call] = self._loop.call_later(self.queue_s, self._send_away, call)
        else:
            raise self._full()
        return call

    def apart(self, in_flight_max: int) -> "Pool":
        """Further connections to the same backend, with a limit of their own."""
        backend = replace(self.backend, in_flight_max=in_flight_max)
        return Pool(backend, loop=self._loop, ssl_context=self._ssl_context)

    def close(self) -> None:
        """Close what is idle now and everything else when its call ends."""
        self._is_closed = True
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    # -- what a call uses ---------------------------------------------------------------------

    def ended(self, call: Call) -> None:
        """The call holds no place any more; harmless when said twice."""
        self._calls.discard(call)
        if self._waiting:
            self._let_in(call)

    def take_idle(self) -> UpstreamConnection | None:
        """The most recently used connection that is still open and young enough."""
        oldest_s = self._loop.time() - IDLE_MAX_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since_s >= oldest_s:
                return connection
            connection.abort()
        return None

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a connect in a task that is kept until it is done."""
        task = self._loop.create_task(work, name=f"connect {self.backend.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def connect(self) -> UpstreamConnection:
        """A new connection, open. Raises UpstreamError of kind dns, connect or tls."""
        addresses = tuple(await self._resolve())
        until_s = self._loop.time() + CONNECT_TIMEOUT_S
        last: Exception | None = None
        for index, address in enumerate(addresses):
            share_s = (until_s - self._loop.time()) / (len(addresses) - index)
            if share_s <= 0:
                break  # a TLS handshake took it all
            connection = UpstreamConnection(self._became_idle)
            try:
                await self._open(connection, address, share_s)
            except (OSError, ValueError) as error:  # ssl's errors are these too
                last = error
                continue
            if connection.is_open:
                self.connections_opened += 1
                self._prefer(address)
                return connection
            last = ConnectionResetError("closed as soon as it was open")
        self._addresses_until_s = NEVER_BEFORE_S  # it may have moved
        raise _connect_error(last)

    # -- inside -------------------------------------------------------------------------------

    def _begin(self, call: Call) -> None:
        self._calls.add(call)
        call.served_at_once = len(self._calls)
        call.start()

    def _let_in(self, ended: Call) -> None:
        """The longest waiting, now that one has ended; or that one waits no more."""
        timer = self._waiting.pop(ended, None)
        if timer is not None:
            timer.cancel()
        while self._waiting and len(self._calls) < self.backend.in_flight_max:
            call = next(iter(self._waiting))
            self._waiting.pop(call).cancel()
            self._begin(call)

    def _send_away(self, call: Call) -> None:
        del self._waiting[call]
        call.refuse(self._full())

    def _full(self) -> UpstreamError:
        return UpstreamError("full", f"{self.backend.in_flight_max} requests in flight already")

    def _became_idle(self, connection: UpstreamConnection) -> None:
        if self._is_closed or len(self._idle) >= IDLE_CONNECTIONS_MAX:
            connection.abort()
            return
        connection.idle_since_s = now_s = self._loop.time()
        self._idle.append(connection)
        self._let_go_of_old(now_s - IDLE_MAX_S)

    def _let_go_of_old(self, oldest_s: float) -> None:
        """After a burst the surplus is never taken again: it is closed from the far end."""
        idle = self._idle
        while not idle[0].is_open or idle[0].idle_since_s < oldest_s:
            idle.popleft().abort()

    async def _resolve(self) -> list[Address]:
        now_s = self._loop.time()
        if now_s >= self._addresses_until_s and self._resolving is None:
            self._resolving = self.spawn(self._look_up())
        if self._resolving is not None and now_s - self._found_s >= ADDRESSES_KEPT_S:
            self._addresses = []
        if not self._addresses and self._resolving is not None:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await asyncio.shield(self._resolving)
            except TimeoutError:
                message = f"no address of {self.backend.host} in time"
                raise UpstreamError("dns", message) from None
        if not self._addresses:
            raise UpstreamError("dns", self._why_not_found)
        return self._addresses

    async def _look_up(self) -> None:
        """Ends when the name server does: who waits no longer still profits next time."""
        host, port = self.backend.host, self.backend.port
        assert host is not None
        assert port is not None
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self._why_not_found = f"cannot resolve {host}: {error}"
            return
        finally:
            self._resolving = None
        preferred = self._addresses[:1]
        self._addresses = [(entry[0], str(entry[4][0]), port) for entry in found]
        if preferred:
            self._prefer(preferred[0])
        self._found_s = self._loop.time()
        self._addresses_until_s = self._found_s + ADDRESSES_FRESH_S

    def _prefer(self, address: Address) -> None:
        if address in self._addresses and self._addresses[0] != address:
            self._addresses.remove(address)
            self._addresses.insert(0, address)

    async def _open(
        self, connection: UpstreamConnection, address: Address, timeout_s: float
    ) -> None:
        family, host, port = address
        if self._ssl_context is None:
            async with asyncio.timeout(timeout_s):
                await self._loop.create_connection(lambda: connection, host, port, family=family)
            return
        shaken: asyncio.Future[None] = self._loop.create_future()
        layer = TlsLayer(
            connection,
            self._ssl_context,
            on_handshake=_settle(shaken),
            server_hostname=self.backend.host,
        )
        async with asyncio.timeout(timeout_s):
            await self._loop.create_connection(lambda: layer, host, port, family=family)
        try:
            async with asyncio.timeout(TLS_TIMEOUT_S):
                await shaken
        except TimeoutError:
            layer.abort()
            raise ssl.SSLError("handshake timed out") from None
        except asyncio.CancelledError:
            layer.abort()  # also where the handshake had just succeeded: nobody takes it
            raise


def _settle(future: "asyncio.Future[None]") -> Callable[[Exception | None], None]:
    def settle(error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    return settle


def _connect_error(error: Exception | None) -> UpstreamError:
    if isinstance(error, ssl.SSLError | ssl.CertificateError):
        return UpstreamError("tls", f"TLS failed: {error}")
    if isinstance(error, TimeoutError):
        return UpstreamError("connect", "timed out while connecting")
    return UpstreamError("connect", f"cannot connect: {error or 'no address'}")
