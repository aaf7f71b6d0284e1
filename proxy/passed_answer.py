"""The answer of a request that is passed through, on its way down: head, pieces, last bytes.

A piece goes on when it comes. The first one waits for the end of the loop's turn: where it turns
out to be all, head and body go out together with their length. The last bytes wait for the record.
"""

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from .attempt import Attempt
from .heads import LAST_CHUNK, Header, chunk, header_lines, response_head

if TYPE_CHECKING:
    from .passing import Passing

KEPT_BESIDES = (b"content-disposition",)
"""Names the file of a download; no other answer has it."""


class PassedAnswer:
    """Of one `Passing`."""

    head_sent_s: float | None = None
    _left: int | None = None
    """Bytes still to come, where the answer said how many."""
    _first: list[bytes] | None = None
    _tail = b""

    def __init__(self, passing: "Passing") -> None:
        self._passing = passing

    def __repr__(self) -> str:
        return f"<PassedAnswer begun={self.is_begun} left={self._left}>"

    @property
    def is_begun(self) -> bool:
        """Some of it is the client's, or as good as that."""
        return self.head_sent_s is not None or self._first is not None

    @property
    def request_id(self) -> str:
        """Our own name for it, told where the backend gave none."""
        return f"req_{self._passing.id.replace('-', '')}"

    def take(self, attempt: Attempt, data: bytes) -> None:
        """A piece has come."""
        if self.head_sent_s is not None:
            self._write(b"", data)
        elif self._first is not None:
            self._first.append(data)
        else:
            self._first = [data]
            self._passing.plane.loop.call_soon(self._flush_later, attempt)

    def flush(self, attempt: Attempt) -> None:
        """Send the first piece, of an answer that is not whole yet."""
        if self._first is not None:
            data, self._first = b"".join(self._first), None
            self._write(self._head(attempt, _told_length(attempt)), data)

    def last_bytes(self, attempt: Attempt) -> bytes:
        """What ends a whole answer; all of it where nothing was sent before."""
        if self.head_sent_s is not None:
            is_marked = self._left is None and not self._passing.head.is_http_10
            return self._framed(self._tail) + (LAST_CHUNK if is_marked else b"")
        body = b"".join(self._first or ())
        length = _told_length(attempt) if attempt.is_head_only else len(body)
        return self._head(attempt, length) + body

    def head_bytes(self, status: int, headers: Sequence[Header], length: int | None) -> bytes:
        """A head with our own lines; `length` None where only the end will show it."""
        passing = self._passing
        client = passing.client
        if not passing.upload.is_whole:
            client.closes = True  # what still comes of the request is no request of its own
        if length is None and passing.head.is_http_10:
            client.closes = True  # only the connection's end marks the body's
        lines = header_lines(headers) + self._own_lines()
        if not any(name == b"x-request-id" for name, _ in headers):
            lines += f"x-request-id: {self.request_id}\r\n".encode()
        return response_head(
            status,
            lines,
            date=passing.plane.date,
            length=None if status in (204, 304) else length,
            head=passing.head,
            closes=client.closes_behind(passing.head),
        )

    # -- inside -------------------------------------------------------------------------------

    def _flush_later(self, attempt: Attempt) -> None:
        if self._passing.is_over:
            return
        try:
            self.flush(attempt)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self._passing.plane.crashed(self._passing, error)

    def _write(self, head: bytes, data: bytes) -> None:
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._tail, data = data, b""
        if head or data:
            self._passing.client.write(head + self._framed(data))

    def _head(self, attempt: Attempt, length: int | None) -> bytes:
        assert attempt.head is not None
        self.head_sent_s = monotonic()
        self._left = length
        headers = attempt.target.to_downstream.kept(attempt.head.headers)
        headers += [one for one in attempt.head.headers if one[0] in KEPT_BESIDES]
        return self.head_bytes(attempt.head.status, headers, length)

    def _own_lines(self) -> bytes:
        passing = self._passing
        lines = f"x-pointsman-decision-id: {passing.id}\r\n"
        if passing.attempt is not None:
            lines += f"x-pointsman-backend: {passing.attempt.backend.name}\r\n"
            lines += "x-pointsman-attempts: 1\r\n"
        return lines.encode()

    def _framed(self, data: bytes) -> bytes:
        is_plain = self._left is not None or self._passing.head.is_http_10
        return data if is_plain or not data else chunk(data)


def _told_length(attempt: Attempt) -> int | None:
    """How long an answer is that is not whole yet, as its head says."""
    assert attempt.head is not None
    length = attempt.head.header(b"content-length")
    is_chunked = attempt.head.header(b"transfer-encoding") is not None
    return None if length is None or is_chunked else int(length)
