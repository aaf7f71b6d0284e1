"""A client that keeps its own books: what it was answered, whole, to hold the store against.

An answer counts from its terminal byte on (the last chunk, or the last byte of Content-Length);
only then is it entered, with the SHA-256 of the bytes sent and of the body bytes received. What
breaks off before is no answer and is counted as a failure. Blocking sockets in threads, HTTP
read by hand, so that nothing but the bytes themselves says where an answer ends.
"""

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

TIMEOUT_S = 20.0
RETRY_S = 0.01
READ_BYTES = 256 * 1024
CHAT = "/v1/chat/completions"


class BrokenOff(ConnectionError):
    """The connection ended before the answer did; `seen` is what had come of it."""

    def __init__(self, seen: bytes) -> None:
        super().__init__(f"ended after {len(seen)} bytes: {seen[-80:]!r}")
        self.seen = seen


class Answer(NamedTuple):
    """A whole answer; the body without its framing."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The `error` member of an error's body."""
        found = json.loads(self.body)["error"]
        assert sorted(found) == ["code", "message", "param", "type"]
        return dict(found)


class Wire:
    """One keep-alive connection."""

    def __init__(
        self, address: str, *, timeout_s: float = TIMEOUT_S, receive_buffer: int | None = None
    ) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.socket()
        self._socket.settimeout(timeout_s)
        if receive_buffer is not None:  # set before connecting, or the kernel makes it larger
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self._socket.connect((host, int(port)))
        except OSError:
            self._socket.close()
            raise
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        self._seen = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Some bytes, as they are."""
        self._socket.sendall(data)

    def read_some(self, bytes_max: int) -> bytes:
        """What one read gives, taken as it is. Raises TimeoutError."""
        return self._socket.recv(bytes_max)

    def half_close(self) -> None:
        """Send FIN."""
        self._socket.shutdown(socket.SHUT_WR)

    def ask(self, body: bytes, **headers: str) -> Answer:
        """One chat request and its whole answer. Raises BrokenOff, OSError."""
        self.send(chat_request(body, headers))
        return self.read_answer()

    def read_head(self) -> tuple[int, dict[str, str]]:
        """Status and headers."""
        self._seen = b""
        line, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = (field.partition(":") for field in lines)
        return int(line.split()[1]), {name.lower(): value.strip() for name, _, value in fields}

    def read_answer(self) -> Answer:
        """The next whole answer. Raises BrokenOff, TimeoutError."""
        status, headers = self.read_head()
        if headers.get("transfer-encoding") != "chunked":
            return Answer(status, headers, self._exactly(int(headers["content-length"])))
        body = []
        while size := int(self._until(b"\r\n"), 16):
            body.append(self._exactly(size))
            assert self._exactly(2) == b"\r\n"
        assert self._exactly(2) == b"\r\n"
        return Answer(status, headers, b"".join(body))

    def read_to_end(self) -> bytes:
        """All bytes until the peer closes."""
        with suppress(BrokenOff):
            while True:
                self._receive()
        return self._unread

    def _until(self, mark: bytes) -> bytes:
        while (end := self._unread.find(mark)) < 0:
            self._receive()
        found, self._unread = self._unread[:end], self._unread[end + len(mark) :]
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._receive()
        found, self._unread = self._unread[:count], self._unread[count:]
        return found

    def _receive(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            raise BrokenOff(self._seen)
        self._unread += data
        self._seen = (self._seen + data)[-4096:]


def chat_request(body: bytes, headers: Mapping[str, str] = {}) -> bytes:
    """Head and body of a chat request."""
    lines = [f"POST {CHAT} HTTP/1.1", "host: test", "content-type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def chat_body(text: str = "Say hi", **members: Any) -> bytes:
    """A chat request's body."""
    message = {"role": "user", "content": text}
    return json.dumps({"model": "auto", "messages": [message], **members}).encode()


def mixed(draw: random.Random) -> bytes:
    """A request among many kinds: streamed or not, of 100 bytes or of 50 KB."""
    size = draw.choice((10, 10, 100, 1000, 50_000))
    text = f"{draw.randrange(10**9)} {'x' * size}"
    return chat_body(text, stream=draw.random() < 0.5)


class Entry(NamedTuple):
    """One whole answer, as the client saw it."""

    id: str
    request_sha256: str
    response_sha256: str
    status: int
    backend: str | None
    policy: str | None
    ended_s: float
    """`time.monotonic()` of its terminal byte."""


class Ledger:
    """Appended to by many threads; each entry is a line of `path` before it counts."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self.entries: dict[str, Entry] = {}

    def add(self, sent: bytes, answer: Answer) -> None:
        """Enter an answer whose terminal byte has been read."""
        headers = answer.headers
        entry = Entry(
            id=headers["x-pointsman-decision-id"],
            request_sha256=sha256(sent).hexdigest(),
            response_sha256=sha256(answer.body).hexdigest(),
            status=answer.status,
            backend=headers.get("x-pointsman-backend"),
            policy=headers.get("x-pointsman-policy"),
            ended_s=time.monotonic(),
        )
        with self._lock:
            self._file.write(json.dumps(entry).encode() + b"\n")
            assert entry.id not in self.entries, "one id for two answers"
            self.entries[entry.id] = entry

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


class Load:
    """Connections that ask without a pause until stopped; each finishes what it asks.

    `is_kept` False: each request comes on a connection of its own.
    """

    def __init__(
        self,
        address: str,
        ledger: Ledger,
        *,
        seed: int,
        connections: int = 6,
        make_body: Callable[[random.Random], bytes] = mixed,
        requests_max: int = 100_000,
        pause_s: float = 0.0,
        is_kept: bool = True,
    ) -> None:
        self._address = address
        self._is_kept = is_kept
        self._ledger = ledger
        self._make_body = make_body
        self._requests_max = requests_max
        self._pause_s = pause_s
        self._is_stopping = threading.Event()
        self.failures: list[str] = []
        """Why each answer that was asked for did not come, or not whole."""
        draws = [random.Random(f"{seed}/{number}") for number in range(connections)]
        self._threads = [threading.Thread(target=self._ask_on, args=(draw,)) for draw in draws]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Wait until every connection has its last answer, or knows that none will come."""
        self._is_stopping.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S * 2)
            assert not thread.is_alive()

    def wait(self, timeout_s: float = 600.0) -> None:
        """Until every connection has asked its `requests_max` times."""
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            assert not thread.is_alive()

    def _ask_on(self, draw: random.Random) -> None:
        wire: Wire | None = None
        for _ in range(self._requests_max):
            if self._is_stopping.is_set():
                break
            body = self._make_body(draw)
            try:
                wire = wire or Wire(self._address)
                answer = wire.ask(body)
            except OSError as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                if wire is not None:
                    wire.close()
                wire = None
                self._is_stopping.wait(RETRY_S)
                continue
            self._ledger.add(body, answer)
            if not self._is_kept or answer.headers.get("connection") == "close":
                wire.close()
                wire = None
            if self._pause_s:
                self._is_stopping.wait(self._pause_s)
        if wire is not None:
            wire.close()


def differences(
    ledger: Ledger, captures: Iterable[Mapping[str, Any]], *, has_bodies: bool = True
) -> list[str]:
    """What the store says otherwise than the ledger, a line each; missing ids first.

    What the store has besides was cut off by a kill between record and terminal byte, or before.
    Without bodies (`capture: metadata`) only the digests speak.
    """
    found: dict[str, Mapping[str, Any]] = {}
    wrong = []
    for capture in captures:
        if capture["id"] in found:
            wrong.append(f"{capture['id']}: twice")
        found[capture["id"]] = capture
        if has_bodies and capture["complete"] and not is_whole(capture):
            wrong.append(f"{capture['id']}: complete, and its answer is not whole")
    for entry in ledger.entries.values():
        capture = found.get(entry.id, {})
        if not capture:
            wrong.insert(0, f"{entry.id}: missing")
            continue
        wanted = {
            "status": "ok" if entry.status == 200 else capture["status"],
            "complete": entry.status == 200,
            "http_status": entry.status,
            "request_sha256": entry.request_sha256,
            "response_sha256": entry.response_sha256,
            "backend": entry.backend,
            "policy": entry.policy,
        }
        wrong += [
            f"{entry.id}: {name} is {capture[name]!r}, the client saw {value!r}"
            for name, value in wanted.items()
            if capture[name] != value
        ]
    return wrong


def is_whole(capture: Mapping[str, Any]) -> bool:
    """Whether a kept response ends as a complete one does. Needs `--bodies`."""
    response = capture["response"]
    if response is None:
        return False
    if response.startswith("data:"):
        has_finished = '"finish_reason":"' in response  # a backend may leave [DONE] out
        return response.endswith("\n\n") and (has_finished or "[DONE]" in response[-20:])
    try:
        return bool(json.loads(response)["choices"][0]["finish_reason"])
    except (ValueError, LookupError):
        return False
