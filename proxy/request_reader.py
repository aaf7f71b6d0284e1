"""Bytes of one connection in, requests out: the parser's callbacks and what they gather.

llhttp calls back in the order of the bytes; a request is handed over once its head is there
(`head_read`) and once it is whole (`request_read`). Trailers are dropped, never merged. After
`feed` has raised Refused nothing more may be fed.
"""

from typing import Protocol

import httptools

from . import errors, framing
from .framing import Refused
from .heads import RequestHead


class Owner(Protocol):
    """Who reads the connection."""

    def head_read(self, head: RequestHead) -> bool:
        """True where the body is wanted. May raise Refused."""

    def body_read(self, data: bytes) -> None:
        """A piece of a body that is streamed."""

    def request_read(self, head: RequestHead, body: bytes) -> None: ...


class RequestReader:
    """Where the connection stands within a request."""

    __slots__ = (
        "_body",
        "_chunks",
        "_fed_bytes",
        "_header_bytes",
        "_headers",
        "_keeps_body",
        "_left_bytes",
        "_owner",
        "_parser",
        "body_bytes",
        "body_bytes_max",
        "has_begun",
        "head",
        "streams_body",
        "target",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._parser = httptools.HttpRequestParser(self)
        self.body_bytes_max = 0
        self._reset()

    def _reset(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._keeps_body = False
        self._fed_bytes = 0
        self._chunks = 0
        self._left_bytes = 0
        """Of the body of a request that asks to upgrade, and is answered as if it did not: some
        clients do so with every POST (`Upgrade: h2c`). The parser stops at its head."""
        self.target = b""
        self.head: RequestHead | None = None
        self.body_bytes = 0
        self.has_begun = False
        """Some bytes of a request are here, and not yet all."""
        self.streams_body = False
        """The owner wants this body piece by piece; it says so when it is given the head."""

    def feed(self, data: bytes) -> None:
        """Read on. Raises Refused, httptools.HttpParserUpgrade, httptools.HttpParserError."""
        self._fed_bytes += len(data)
        if self._owes_body():
            self._take_rest(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._owes_body():
                raise
            self._take_rest(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__ or error.__cause__
            raise (error if cause is None else cause) from None
        framing.check_beside(
            self._fed_bytes - self.body_bytes,
            has_head=self.head is not None,
            chunks=self._chunks,
        )

    def _owes_body(self) -> bool:
        return self._left_bytes > 0

    def _take_rest(self, data: bytes) -> None:
        """Read the body of a request that asked to upgrade, by its length; then nothing more."""
        piece = data[: self._left_bytes]
        self._left_bytes -= len(piece)
        if piece:
            self.on_body(piece)
        if not self._left_bytes:
            self.on_message_complete()
            raise httptools.HttpParserUpgrade(len(piece))

    # -- httptools callbacks ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.has_begun = True

    def on_url(self, target: bytes) -> None:
        self.target += target
        if len(self.target) > framing.TARGET_BYTES_MAX:
            raise Refused(errors.headers_too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is not None:
            return  # a trailer
        self._header_bytes += len(name) + len(value) + 4
        is_full = len(self._headers) >= framing.HEADERS_MAX
        if is_full or self._header_bytes > framing.HEAD_BYTES_MAX:
            raise Refused(errors.headers_too_large())
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.head = framing.read_head(
            self._parser.get_method(),
            self.target,
            self._headers,
            version=self._parser.get_http_version(),
            keeps_alive=self._parser.should_keep_alive(),
        )
        self._keeps_body = self._owner.head_read(self.head)
        if self._parser.should_upgrade() and self.head.method != b"CONNECT":
            if b"transfer-encoding" in self.head.fields:
                raise Refused(errors.framing("An upgrade with a chunked body is not taken."))
            self._left_bytes = int(self.head.fields.get(b"content-length", 0))

    def on_body(self, data: bytes) -> None:
        self.body_bytes += len(data)
        if self.body_bytes > self.body_bytes_max:
            raise Refused(errors.too_large(self.body_bytes_max))
        if self._keeps_body:
            self._body.append(data)
        elif self.streams_body:
            self._owner.body_read(data)

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_message_complete(self) -> None:
        head = self.head
        if head is None or self._left_bytes:
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._reset()
        self._owner.request_read(head, body)
