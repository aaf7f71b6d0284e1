"""HTTP heads: the parsed head of a request, and the bytes of an answer's head."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from adapters.headers import HeaderRule

Header = tuple[bytes, bytes]

OWN_PREFIX: Final = b"x-pointsman-"

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}


class RequestHead:
    """The head of one request, never changed: clients send the same one again and again.

    Header names are in lower case; of a repeated header the first value counts.
    """

    __slots__ = (
        "_upstream",
        "connection_named",
        "fields",
        "headers",
        "is_http_10",
        "keeps_alive",
        "method",
        "own",
        "path",
        "query",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: list[Header],
        *,
        is_http_10: bool,
        keeps_alive: bool,
    ) -> None:
        self.method = method
        self.path, mark, query = target.partition(b"?")
        self.query = mark + query
        """With its `?`, or empty."""
        self.headers = headers
        self.fields: Mapping[bytes, bytes] = dict(reversed(headers))
        self.own: Mapping[bytes, bytes] = {
            name[len(OWN_PREFIX) :]: value
            for name, value in self.fields.items()
            if name.startswith(OWN_PREFIX)
        }
        """Headers `x-pointsman-NAME` by NAME; empty for most clients."""
        self.is_http_10 = is_http_10
        self.keeps_alive = keeps_alive
        self.connection_named = frozenset(
            part.strip().lower()
            for name, value in headers
            if name == b"connection"
            for part in value.split(b",")
        )
        """Headers that `Connection` named: hop-by-hop, never passed on."""
        self._upstream: dict[HeaderRule, bytes] = {}

    def upstream_lines(self, rule: HeaderRule) -> bytes:
        """The header lines that go on to a backend whose adapter has this rule."""
        lines = self._upstream.get(rule)
        if lines is None:
            lines = self._upstream[rule] = rule.lines(self.headers, self.connection_named)
        return lines

    def labels(self) -> dict[str, str]:
        """`x-pointsman-label-NAME` by NAME."""
        return {
            name[6:].decode("latin-1"): value.decode("utf-8", "replace")
            for name, value in self.own.items()
            if name.startswith(b"label-")
        }


def header_lines(headers: Iterable[Header]) -> bytes:
    """Headers as lines, in their order."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def response_head(
    status: int, lines: bytes, *, date: bytes, length: int | None, head: RequestHead, closes: bool
) -> bytes:
    """An answer's head. `length` None means chunks (or, for HTTP/1.0, until close)."""
    first = STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    if length is not None:
        framing = b"content-length: %b\r\n" % str(length).encode()
    elif status in (204, 304):
        framing = b""  # these have no body, and no length either
    else:
        framing = b"" if head.is_http_10 else b"transfer-encoding: chunked\r\n"
    if closes:
        framing += b"connection: close\r\n"
    elif head.is_http_10:
        framing += b"connection: keep-alive\r\n"
    return b"%bdate: %b\r\n%b%b\r\n" % (first, date, lines, framing)


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"
