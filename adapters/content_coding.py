"""A readable copy of an answer that came compressed although `identity` was asked for.

The client gets the bytes as they are, with their `content-encoding`; only what the side-reader
looks at is decoded, and only up to a bound, so that a bomb costs its bytes and no more.
"""

import zlib
from typing import Literal

DECODED_BYTES_MAX = 4 << 20
"""Of one answer; decoding that many takes about 10 ms, and longer answers are not judged."""
MEMBERS_MAX = 100
"""A gzip body may be many behind one another; each costs more time than bytes."""

_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
_RAW_DEFLATE = -zlib.MAX_WBITS  # some servers take `deflate` to mean no zlib header
_GZIP_MAGIC = b"\x1f\x8b"

State = Literal["reading", "ended", "broken", "opaque"]
"""`opaque`: a coding we do not know, or more than we read of one; `broken`: not that coding."""


class Decoder:
    """Decodes one body, whole or in pieces. Never raises."""

    __slots__ = ("_coding", "_decompress", "_members", "_pending", "_room", "state")

    def __init__(self, coding: bytes) -> None:
        self._coding = coding.strip().lower().removeprefix(b"x-")
        self._decompress: zlib._Decompress | None = None
        self._members = 0
        self._pending = b""
        self._room = DECODED_BYTES_MAX
        self.state: State = "reading" if self._coding in (b"gzip", b"deflate") else "opaque"

    def feed(self, data: bytes) -> bytes:
        """What `data` decodes to; empty where nothing more can be read."""
        pieces = []
        data, self._pending = self._pending + data, b""
        while data and self.state in ("reading", "ended"):
            if self._decompress is None and len(data) < 2:
                self._pending = data
            elif self._decompress is not None or self._begin(data):
                piece, data = self._step(data)
                pieces.append(piece)
                continue
            break
        return b"".join(pieces)

    def _begin(self, data: bytes) -> bool:
        """Start the body, or another gzip member of it; anything else behind it is not read."""
        if self._members and not data.startswith(_GZIP_MAGIC):
            return False
        self._members += 1
        self.state = "reading" if self._members <= MEMBERS_MAX else "opaque"
        is_raw = self._coding == b"deflate" and int.from_bytes(data[:2], "big") % 31 != 0
        self._decompress = zlib.decompressobj(_RAW_DEFLATE if is_raw else _ZLIB_OR_GZIP)
        return self.state == "reading"

    def _step(self, data: bytes) -> tuple[bytes, bytes]:
        """Decode; returns the text, and what stands behind the end of a member."""
        assert self._decompress is not None
        try:
            text = self._decompress.decompress(data, self._room + 1)
        except zlib.error:
            self.state = "broken"
            return b"", b""
        self._room -= len(text)
        behind = b""
        if self._room < 0:
            self.state = "opaque"
        elif self._decompress.eof:
            self.state = "ended"
            behind, self._decompress = self._decompress.unused_data, None
        return text, behind


def decoded(body: bytes, coding: bytes | None) -> bytes:
    """A whole body as it reads: decoded where it can be, else as it is."""
    if coding is None:
        return body
    decoder = Decoder(coding)
    text = decoder.feed(body)
    return text if decoder.state == "ended" else body
