"""A TCP relay that spoils what passes between two honest ends.

    with FaultProxy(upstream.port, downstream=[latency(0.1), slices(1)]) as link:
        ...  # call 127.0.0.1:link.port

`downstream` is what comes from the target, `upstream` what goes to it. A fault takes a flow of
pieces and gives the flow that is to go out, in its own time; several are applied in order. One
that ends the connection raises Ended. Without faults everything passes, FIN and RST included.

`close_port` makes connects be refused and `open_port` takes the same port again, so a backend
can die and come back without its address changing.

One thread with an event loop of its own; uvloop, which is being tested, has no part in it.
"""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

WAIT_S = 5.0
READ_BYTES = 64 * 1024
SETTLE_S = 0.05
"""Before a reset, so that the peer reads what was passed before; RST may throw it away."""
TICK_S = 0.01
"""The grain of `bandwidth`."""

End = Literal["fin", "reset", "half"]
Flow = AsyncIterator[bytes]
Fault = Callable[[Flow], Flow]
Result = TypeVar("Result")


class Ended(Exception):
    """A fault ends the connection: both ways by FIN or RST, or this way only (`half`)."""

    def __init__(self, how: End) -> None:
        super().__init__(how)
        self.how: End = how


# -- faults ---------------------------------------------------------------------------------------


def latency(delay_s: float, jitter_s: float = 0.0, *, seed: int = 0) -> Fault:
    """Hold each piece for `delay_s`, up to `jitter_s` more or less."""
    draw = random.Random(seed)

    async def flow(pieces: Flow) -> Flow:
        async for data in pieces:
            await asyncio.sleep(max(0.0, delay_s + draw.uniform(-jitter_s, jitter_s)))
            yield data

    return flow


def slices(size: int, pause_s: float = 0.0) -> Fault:
    """Pass on `size` bytes at a time, each in a write of its own."""

    async def flow(pieces: Flow) -> Flow:
        async for data in pieces:
            for start in range(0, len(data), size):
                yield data[start : start + size]
                await asyncio.sleep(pause_s)

    return flow


def bandwidth(bytes_per_s: float) -> Fault:
    """No faster than this."""
    size = max(1, int(bytes_per_s * TICK_S))
    return slices(size, size / bytes_per_s)


def stall_after(count: int) -> Fault:
    """Pass `count` bytes, then nothing, the connection staying open."""

    async def flow(pieces: Flow) -> Flow:
        async for data in _first(pieces, count):
            yield data
        await asyncio.Event().wait()

    return flow


def end_after(count: int, how: End) -> Fault:
    """Pass `count` bytes, then end the connection; a flow that is shorter ends in its own way."""

    async def flow(pieces: Flow) -> Flow:
        left = count
        async for data in _first(pieces, count):
            left -= len(data)
            yield data
        if left <= 0:
            await asyncio.sleep(SETTLE_S)
            raise Ended(how)

    return flow


async def black_hole(pieces: Flow) -> Flow:
    """Take everything, pass nothing, never end."""
    async for data in pieces:
        if not data:
            yield data  # never: it makes this a generator
    await asyncio.Event().wait()


async def _first(pieces: Flow, count: int) -> Flow:
    left = count
    if left <= 0:
        return
    async for data in pieces:
        yield data[:left]
        left -= len(data)
        if left <= 0:
            return


# -- ports nobody answers at ----------------------------------------------------------------------

REFUSED = "http://127.0.0.1:1/v1"
"""Nobody listens there: connects are refused at once."""


@contextmanager
def unanswered_port() -> Iterator[int]:
    """A port where connects neither succeed nor fail: its queue is full, the kernel drops them."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as full, ExitStack() as stack:
        for _ in range(8):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield full.getsockname()[1]


# -- the relay ------------------------------------------------------------------------------------


class FaultProxy:
    """Listens on 127.0.0.1; a context manager. `upstream` and `downstream` may be set anew at any
    time, for the connections to come."""

    def __init__(
        self, target_port: int, *, upstream: Sequence[Fault] = (), downstream: Sequence[Fault] = ()
    ) -> None:
        self.upstream = upstream
        self.downstream = downstream
        self.connected = 0
        """Connections accepted so far."""
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._pairs: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._listening: socket.socket | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.open_port()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close_port()
        self._call(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    @property
    def base_url(self) -> str:
        """For a config."""
        return f"http://127.0.0.1:{self.port}/v1"

    def open_port(self) -> None:
        """Accept connections, on the port it had before."""

        async def listen() -> int:
            self._listening = socket.create_server(("127.0.0.1", self.port), backlog=512)
            self._listening.setblocking(False)
            self._loop.add_reader(self._listening, self._accept)
            port: int = self._listening.getsockname()[1]
            return port

        self.port = self._call(listen())

    def close_port(self) -> None:
        """Refuse connections, and reset those there are."""

        async def close() -> None:
            if self._listening is not None:
                self._loop.remove_reader(self._listening)
                self._listening.close()
                self._listening = None
            await asyncio.sleep(TICK_S)  # one that was just accepted has begun
            while self._pairs or self._writers:
                for pair in tuple(self._pairs):
                    pair.cancel()
                for writer in self._writers:
                    _reset(writer)  # one whose peer does not read is still closing
                self._writers.clear()
                await asyncio.sleep(TICK_S)

        self._call(close())

    # -- inside -------------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def _accept(self) -> None:
        """asyncio's own server loses connections that come while it is being closed: they stay
        open and nobody serves them."""
        assert self._listening is not None
        try:
            opened, _ = self._listening.accept()
        except OSError:
            return
        opened.setblocking(False)
        self.connected += 1
        task = self._loop.create_task(self._serve(opened))
        self._pairs.add(task)
        task.add_done_callback(self._pairs.discard)

    async def _serve(self, opened: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=opened, limit=READ_BYTES)
        self._writers.append(writer)
        try:
            await self._relay(reader, writer)
        except asyncio.CancelledError:
            _reset(writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(
                "127.0.0.1", self._target_port, limit=READ_BYTES
            )
        except OSError:
            _reset(writer)
            return
        self._writers.append(far_writer)
        how: End = "reset"
        ways = (
            asyncio.ensure_future(_pump(reader, far_writer, self.upstream)),
            asyncio.ensure_future(_pump(far_reader, writer, self.downstream)),
        )
        try:
            await asyncio.gather(*ways)
            how = "fin"
        except Ended as ended:
            how = ended.how
        except OSError:
            pass  # one end is gone: so is the other
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for each in (writer, far_writer):
                each.close() if how == "fin" else _reset(each)


async def _cancel_all() -> None:
    """Whatever is still under way, a connection that is just being accepted included."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(TICK_S)


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Sequence[Fault]
) -> None:
    flow = _pieces(reader)
    _set_option(writer, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for fault in faults:
        flow = fault(flow)
    try:
        async for data in flow:
            writer.write(data)
            await writer.drain()
    except Ended as ended:
        if ended.how != "half":
            raise
    writer.write_eof()


async def _pieces(reader: asyncio.StreamReader) -> Flow:
    while data := await reader.read(READ_BYTES):
        yield data


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    _set_option(writer, socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _set_option(writer: asyncio.StreamWriter, level: int, option: int, value: int | bytes) -> None:
    with suppress(OSError):  # it may be closed already
        writer.get_extra_info("socket").setsockopt(level, option, value)
