"""What of HTTP/1.1 is refused though llhttp lets it pass (WIRE section 4), and the limits.

Pure checks over a head that has been parsed. `Refused` stops the parser from inside one of its
callbacks and carries the answer; whoever feeds the parser catches it.
"""

from typing import Final

from . import errors
from .errors import DownstreamError
from .heads import Header, RequestHead

TARGET_BYTES_MAX: Final = 8 * 1024
HEAD_BYTES_MAX: Final = 64 * 1024
HEADERS_MAX: Final = 100
CHUNK_LINE_BYTES_MAX: Final = 256
BESIDE_BYTES_MAX: Final = HEAD_BYTES_MAX + TARGET_BYTES_MAX
"""What may stand beside a body: its head, and as much again in trailers and extensions."""


class Refused(Exception):
    """The request is not read on."""

    def __init__(self, error: DownstreamError) -> None:
        super().__init__(error.message)
        self.error = error


def read_head(
    method: bytes, target: bytes, headers: list[Header], *, version: str, keeps_alive: bool
) -> RequestHead:
    """The head of a request that may be served. Raises Refused."""
    if version not in ("1.1", "1.0"):
        raise Refused(errors.framing("Only HTTP/1.1 and HTTP/1.0 are spoken here."))
    if (
        not target.startswith(b"/")
        or target.startswith(b"//")
        or method == b"CONNECT"
        or b"#" in target
    ):
        raise Refused(errors.framing("The request target must be a path."))
    is_http_10 = version == "1.0"
    head = RequestHead(method, target, headers, is_http_10=is_http_10, keeps_alive=keeps_alive)
    _check_headers(head)
    return head


def check_length(head: RequestHead, body_bytes_max: int) -> None:
    """Refuse a body that says it will be too large, and expectations we do not know."""
    length = head.fields.get(b"content-length")
    if length is not None and int(length) > body_bytes_max:
        raise Refused(errors.too_large(body_bytes_max))
    expected = head.fields.get(b"expect")
    if expected is not None and not head.is_http_10 and expected.lower() != b"100-continue":
        raise Refused(errors.expectation_failed())


def check_beside(beside_bytes: int, *, has_head: bool, chunks: int) -> None:
    """Bound what llhttp swallows silently: an endless header, chunk extensions, trailers."""
    if not has_head:
        if beside_bytes > BESIDE_BYTES_MAX:
            raise Refused(errors.headers_too_large())
    elif beside_bytes > BESIDE_BYTES_MAX + chunks * CHUNK_LINE_BYTES_MAX:
        raise Refused(errors.framing("The chunks carry too much beside the body."))


def _check_headers(head: RequestHead) -> None:
    hosts = codings = 0
    for name, value in head.headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            codings += 1
            if codings > 1 or value.lower() != b"chunked" or head.is_http_10:
                raise Refused(errors.framing("This transfer-encoding is not accepted."))
        elif b"_" in name:
            raise Refused(errors.framing("Header names with an underscore are refused."))
    if hosts > 1 or (hosts == 0 and not head.is_http_10):
        raise Refused(errors.framing("Exactly one Host header is required."))
    has_body = codings or (head.fields.get(b"content-length") or b"0") != b"0"
    if has_body and head.method in (b"GET", b"HEAD"):
        raise Refused(errors.framing("A body is not accepted with this method."))
