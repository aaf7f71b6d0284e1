"""HTTP heads: the parsed head of a request, and the bytes of an answer's head."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

Header = tuple[bytes, bytes]

STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}


@dataclass(slots=True)
class RequestHead:
    """The head of one request; header names are in lower case, `query` keeps its `?`."""

    method: bytes
    path: bytes
    query: bytes
    headers: list[Header]
    is_http_10: bool
    keeps_alive: bool
    connection_named: frozenset[bytes] = frozenset()
    """Headers that `Connection` named: hop-by-hop, never passed on."""

    def header(self, name: bytes) -> bytes | None:
        """The first value of header `name` (lower case)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def with_prefix(self, prefix: bytes) -> dict[str, str]:
        """Headers whose name starts with `prefix`, by the rest of their name."""
        return {
            key[len(prefix) :].decode("latin-1"): value.decode("utf-8", "replace")
            for key, value in self.headers
            if key.startswith(prefix)
        }


def status_line(status: int) -> bytes:
    """The first line of an answer; an unregistered status gets an empty phrase."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def response_head(
    status: int, headers: Iterable[Header], *, date: bytes, length: int | None, head: RequestHead
) -> bytes:
    """An answer's head. `length` None means chunks (or, for HTTP/1.0, until close)."""
    lines = [status_line(status), b"date: %b\r\n" % date]
    lines += [b"%b: %b\r\n" % header for header in headers]
    if length is not None:
        lines.append(b"content-length: %d\r\n" % length)
    elif not head.is_http_10:
        lines.append(b"transfer-encoding: chunked\r\n")
    if not head.keeps_alive:
        lines.append(b"connection: close\r\n")
    elif head.is_http_10:
        lines.append(b"connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
