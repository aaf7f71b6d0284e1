"""A client that sends exactly the bytes it was told to, and reads answers strictly.

`read` takes one answer apart as RFC 9112 says and raises Malformed where it is not well-formed;
what the proxy's own parser would forgive is not forgiven here.
"""

import json
import socket
import ssl
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

WAIT_S = 5.0
READ_BYTES = 256 * 1024
CHAT = "/v1/chat/completions"

Framing = Literal["length", "chunked", "close", "none"]


class Malformed(Exception):
    """The answer is not HTTP/1.1."""


@dataclass
class Answer:
    """One answer. `chunks` are those of a chunked body; `is_whole`: its end was marked."""

    status: int
    headers: list[tuple[str, str]]
    framing: Framing
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    is_whole: bool = False
    head_s: float = 0.0
    """When the head was there, in `time.monotonic()` seconds."""

    def all(self, name: str) -> list[str]:
        """Every value of a header (lower case)."""
        return [value for key, value in self.headers if key == name]

    def header(self, name: str) -> str | None:
        """The only value of a header. Raises Malformed where there are several."""
        values = self.all(name)
        if len(values) > 1:
            raise Malformed(f"{name}: {values}")
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error; checks that it has OpenAI's shape."""
        assert self.header("content-type") == "application/json", self.headers
        assert self.header("x-request-id"), self.headers
        found = self.json
        assert set(found) == {"error"}, found
        assert set(found["error"]) == {"message", "type", "param", "code"}, found
        assert isinstance(found["error"]["message"], str)
        return dict(found["error"])

    @property
    def code(self) -> tuple[int, str, str | None]:
        """(status, type, code) of an error."""
        error = self.error
        return self.status, error["type"], error["code"]


class RawClient:
    """One connection; a context manager. All waiting ends after WAIT_S with TimeoutError."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        opened = socket.create_connection(("127.0.0.1", port), WAIT_S)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = (
            opened if tls is None else tls.wrap_socket(opened, server_hostname="localhost")
        )
        self._unread = b""
        self._has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """FIN."""
        self.socket.close()

    def send(self, data: bytes) -> Self:
        """Send all of it."""
        self.socket.settimeout(WAIT_S)
        self.socket.sendall(data)
        return self

    def ask(self, body: bytes | dict[str, Any], *headers: str, path: str = CHAT) -> Answer:
        """One POST, and its answer."""
        return self.send(post(body, *headers, path=path)).read()

    def read(self, *, has_body: bool = True) -> Answer:
        """The next answer to its end, or to the end of the connection."""
        answer = self.read_head(has_body=has_body)
        if answer.framing == "length":
            length = int(answer.header("content-length") or "0")
            answer.body = self._take(length)
            answer.is_whole = len(answer.body) == length
        elif answer.framing == "chunked":
            while self.read_chunk(answer):
                pass
        elif answer.framing == "close":
            while not self._has_ended:
                self._more()
            answer.body, self._unread = self._unread, b""
            answer.is_whole = True
        return answer

    def read_head(self, *, has_body: bool = True) -> Answer:
        """The next answer's head; interim ones count as answers."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            if self._has_ended:
                raise Malformed(f"closed within a head: {self._unread[:200]!r}")
            self._more()
        lines = self._unread[:end].decode("latin-1").split("\r\n")
        self._unread = self._unread[end + 4 :]
        version, status, *_ = lines[0].split(" ", 2)
        if version != "HTTP/1.1" or len(status) != 3:
            raise Malformed(lines[0])
        pairs = [line.split(": ", 1) for line in lines[1:]]
        headers = [(name.lower(), value) for name, value in pairs]
        answer = Answer(int(status), headers, "close", head_s=time.monotonic())
        answer.framing = self._framing(answer, has_body)
        return answer

    def read_chunk(self, answer: Answer) -> bool:
        """One more chunk into `answer`; False at the end, marked or not."""
        line = self._line()
        if line is None:
            return False
        size = int(line, 16)
        data = self._take(size)
        if len(data) < size or self._take(2) != b"\r\n":
            answer.body += data
            return False
        if size == 0:
            answer.is_whole = True
            return False
        answer.chunks.append(data)
        answer.body += data
        return True

    def is_closed(self, timeout_s: float = WAIT_S) -> bool:
        """Whether the server ends the connection, sending nothing more."""
        self.socket.settimeout(timeout_s)
        if self._unread:
            return False
        if self._has_ended:
            return True
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def unread(self) -> bytes:
        """Whatever else comes until the end of the connection."""
        while not self._has_ended:
            self._more()
        data, self._unread = self._unread, b""
        return data

    def _framing(self, answer: Answer, has_body: bool) -> Framing:
        if not has_body or answer.status < 200 or answer.status in (204, 304):
            return "none"
        length, coding = answer.header("content-length"), answer.header("transfer-encoding")
        if length is not None and coding is not None:
            raise Malformed("both content-length and transfer-encoding")
        if coding is not None:
            if coding != "chunked":
                raise Malformed(coding)
            return "chunked"
        return "close" if length is None else "length"

    def _line(self) -> bytes | None:
        while (end := self._unread.find(b"\r\n")) < 0:
            if self._has_ended:
                return None
            self._more()
        line, self._unread = self._unread[:end], self._unread[end + 2 :]
        return line

    def _take(self, size: int) -> bytes:
        pieces = [self._unread]
        missing = size - len(self._unread)
        self._unread = b""
        while missing > 0 and not self._has_ended:
            self._more()
            pieces.append(self._unread)
            missing -= len(self._unread)
            self._unread = b""
        data = b"".join(pieces)
        self._unread = data[size:]
        return data[:size]

    def _more(self) -> None:
        self.socket.settimeout(WAIT_S)
        try:
            data = self.socket.recv(READ_BYTES)
        except ConnectionResetError:
            data = b""
        self._has_ended = not data
        self._unread += data


def post(
    body: bytes | dict[str, Any], *headers: str, path: str = CHAT, version: str = "HTTP/1.1"
) -> bytes:
    """A POST with Content-Length."""
    content = body_of(body)
    lines = [f"POST {path} {version}", "Host: x", "Content-Type: application/json", *headers]
    head = "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""])
    return head.encode("latin-1") + content


def body_of(body: bytes | dict[str, Any]) -> bytes:
    """The bytes of a body as `post` sends it."""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def get(path: str, *headers: str) -> bytes:
    """A GET."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode("latin-1")
