"""An upstream that says exactly the bytes it was told to, and remembers what was done to it.

Every connection plays a script: a list of steps. Bytes are sent as they are; the other steps
are `request`, `swallow` (a request too large to keep), `answering(make)` (one after another),
`stall(s)`, `drip(data, ...)`, `until_closed`, and the ways to end a connection: `fin`, `notify`
(TLS close_notify, then FIN), `reset` (RST, unsent data lost). A script that ends without one
holds the connection until the peer closes it.

    with ScriptedUpstream([request, response(b"{}"), until_closed]) as upstream:
        ...  # call 127.0.0.1:upstream.port
        assert upstream.connections[0].closed_how == "fin"

Blocking sockets in threads of their own, so neither loop nor protocol of what is tested is
involved. Moments are `time.monotonic()` seconds.
"""

import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from types import TracebackType
from typing import Literal, Self

STEP_S_MAX = 60.0
READ_BYTES = 256 * 1024

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)


class Gone(Exception):
    """The peer closed or reset the connection while the script was still running."""


class Connection:
    """One accepted connection. Steps call its methods; tests read its attributes."""

    def __init__(self, opened: socket.socket, stopping: threading.Event) -> None:
        self._socket = opened
        self._stopping = stopping
        self._unread = bytearray()
        self.received = bytearray()
        """Every byte the peer sent, but for what `swallow` took."""
        self.requests: list[bytes] = []
        """Head and body of each request that a step has read (of a swallowed one, its head)."""
        self.swallowed: list[str] = []
        """SHA-256 of each body that was swallowed."""
        self.opened_at = time.monotonic()
        self.closed_at: float | None = None
        """When the peer's close was seen."""
        self.closed_how: Literal["fin", "reset"] | None = None
        self.handshake_error: Exception | None = None
        self.failure: Exception | None = None
        """What a step raised that was not the peer's doing."""
        self.finished = threading.Event()

    def read_request(self) -> None:
        """Wait for one whole request; its body by Content-Length (none: no body)."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            self._unread += self._receive(STEP_S_MAX)
        length = _LENGTH.search(self._unread[: end + 2])
        total = end + 4 + (int(length[1]) if length else 0)
        while len(self._unread) < total:
            self._unread += self._receive(STEP_S_MAX)
        self.requests.append(bytes(self._unread[:total]))
        del self._unread[:total]

    def swallow_request(self) -> None:
        """As `read_request`, keeping of the body only its digest, in `swallowed`."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            self._unread += self._receive(STEP_S_MAX)
        length = _LENGTH.search(self._unread[: end + 2])
        left = int(length[1]) if length else 0
        self.requests.append(bytes(self._unread[: end + 4]))
        del self._unread[: end + 4]
        digest = sha256()
        while left > 0:
            if not self._unread:
                self._unread += self._receive(STEP_S_MAX, is_kept=False)
            data = bytes(self._unread[:left])
            del self._unread[:left]
            digest.update(data)
            left -= len(data)
        self.swallowed.append(digest.hexdigest())

    def send(self, data: bytes) -> None:
        """Send all of `data`. Raises Gone."""
        self._socket.settimeout(STEP_S_MAX)
        try:
            self._socket.sendall(data)
        except (ConnectionError, ssl.SSLError) as error:
            self._gone("reset", error)

    def stall(self, span_s: float) -> None:
        """Say nothing for `span_s` seconds, noticing at once when the peer leaves."""
        end = time.monotonic() + span_s
        while (left := end - time.monotonic()) > 0 and not self._stopping.is_set():
            self._unread += self._receive(left, may_time_out=True)

    def fin(self) -> None:
        """Close; on TLS without close_notify."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR) if not self._is_tls else None
        self._socket.close()
        raise Gone

    def notify(self) -> None:
        """Close as TLS wants it: close_notify first."""
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(0.2)
            with suppress(OSError, ValueError):
                self._socket = self._socket.unwrap()
        self.fin()

    def reset(self) -> None:
        """Close with RST; what the peer has not yet read may be lost."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        raise Gone

    def stop(self) -> None:
        """End a connection from the test's side."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back; harmless when it is closed."""
        self._socket.close()

    @property
    def unread(self) -> int:
        """Bytes that came and that no step has taken."""
        return len(self._unread)

    @property
    def _is_tls(self) -> bool:
        return isinstance(self._socket, ssl.SSLSocket)

    def _receive(
        self, timeout_s: float, *, may_time_out: bool = False, is_kept: bool = True
    ) -> bytes:
        self._socket.settimeout(timeout_s)
        try:
            data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            if may_time_out:
                return b""
            raise
        except OSError as error:
            self._gone("reset", error)
        if not data:
            self._gone("fin")
        if is_kept:
            self.received += data
        return data

    def _gone(self, how: Literal["fin", "reset"], error: Exception | None = None) -> None:
        if self.closed_at is None:
            self.closed_at, self.closed_how = time.monotonic(), how
        raise Gone from error


Step = bytes | Callable[[Connection], None]
Script = Sequence[Step]


def request(connection: Connection) -> None:
    """Wait for a whole request."""
    connection.read_request()


def swallow(connection: Connection) -> None:
    """Wait for a whole request, however large; its body has the length its head says."""
    connection.swallow_request()


def answering(make: Callable[[bytes], Script | bytes]) -> Step:
    """Read requests for as long as the peer keeps the connection; `make` gives each its answer:
    bytes, or steps. The connection keeps what was asked, not the bytes."""

    def step(connection: Connection) -> None:
        while True:
            connection.received.clear()
            connection.read_request()
            answer = make(connection.requests[-1])
            for each in [answer] if isinstance(answer, bytes) else answer:
                connection.send(each) if isinstance(each, bytes) else each(connection)

    return step


def stall(span_s: float) -> Step:
    """Silence."""
    return lambda connection: connection.stall(span_s)


def drip(data: bytes, *, size: int = 1, pause_s: float = 0.001) -> Step:
    """Send `data` in pieces of `size` bytes with a pause after each."""

    def step(connection: Connection) -> None:
        for start in range(0, len(data), size):
            connection.send(data[start : start + size])
            connection.stall(pause_s)

    return step


def repeat(data: bytes, times: int) -> Step:
    """Send `data` over and over, as fast as the peer reads."""

    def step(connection: Connection) -> None:
        for _ in range(times):
            connection.send(data)

    return step


def until_closed(connection: Connection) -> None:
    """Wait for the peer to close."""
    connection.stall(STEP_S_MAX)


def fin(connection: Connection) -> None:
    """Close; on TLS without close_notify."""
    connection.fin()


def notify(connection: Connection) -> None:
    """Close with close_notify on TLS."""
    connection.notify()


def reset(connection: Connection) -> None:
    """Close with RST."""
    connection.reset()


def response(
    body: bytes, *headers: str, status: str = "200 OK", content_type: str = "application/json"
) -> bytes:
    """A response with Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"content-type: {content_type}", *headers]
    head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""])
    return head.encode("latin-1") + body


def chunked_head(
    *headers: str, status: str = "200 OK", content_type: str = "text/event-stream"
) -> bytes:
    """The head of a chunked response."""
    lines = [f"HTTP/1.1 {status}", f"content-type: {content_type}", *headers]
    return "\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


class ScriptedUpstream:
    """Listens on 127.0.0.1; the n-th connection plays the n-th script, the last one repeats."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts or ([until_closed],)
        self._tls = tls
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self.connections: list[Connection] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listening.getsockname()[1]

    @property
    def base_url(self) -> str:
        """For a config."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[bytes]:
        """Of all connections, in the order they were opened."""
        return [request for connection in self.connections for request in connection.requests]

    def wait_for_connection(self, count: int = 1, timeout_s: float = 5.0) -> Connection:
        """The `count`-th connection. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.connections) >= count, timeout_s):
                raise TimeoutError(f"{len(self.connections)} connections, not {count}")
            return self.connections[count - 1]

    def wait_until_finished(self, count: int = 1, timeout_s: float = 5.0) -> Connection:
        """The `count`-th connection once its script is over and it is closed."""
        connection = self.wait_for_connection(count, timeout_s)
        if not connection.finished.wait(timeout_s):
            raise TimeoutError("the connection is still open")
        return connection

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self.connections:
            connection.stop()
        for thread in self._threads:
            thread.join(5)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                opened, _ = self._listening.accept()
            except OSError:
                return
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            script = self._scripts[min(len(self.connections), len(self._scripts) - 1)]
            self._start(self._converse, opened, script)

    def _converse(self, opened: socket.socket, script: Script) -> None:
        connection = Connection(opened, self._stopping)
        with self._changed:
            self.connections.append(connection)
            self._changed.notify_all()
        try:
            if self._tls is not None:
                opened.settimeout(STEP_S_MAX)
                connection._socket = self._tls.wrap_socket(opened, server_side=True)
            for step in (*script, until_closed):
                connection.send(step) if isinstance(step, bytes) else step(connection)
        except Gone:
            pass
        except (ssl.SSLError, OSError) as error:
            connection.handshake_error = error
        except Exception as error:  # noqa: BLE001 (a script's own fault, for the test to read)
            connection.failure = error
        finally:
            connection.close()
            connection.finished.set()
