"""Turns payloads into frames; apart from frames.py, whose types cannot be compiled."""

import struct
from typing import Final

from crc32c import crc32c

from .frames import Keys

_REST: Final = struct.Struct("<IIB")  # length, sequence, kind
_CHECKSUM_BYTES: Final = 4
COPIED_BYTES_MAX: Final = 1 << 14
"""A second call for the checksum costs more than a copy of less than this."""


class FrameWriter:
    """Makes the frames of one segment, counting them."""

    __slots__ = ("_pack_rest", "_seed", "_sync", "sequence")

    def __init__(self, keys: Keys) -> None:
        self._sync = keys.sync
        self._seed = keys.seed
        self._pack_rest = _REST.pack
        self.sequence = 0

    def head(self, kind: int, payload: bytes) -> bytes:
        """The bytes that go before `payload` on disk."""
        rest = self._pack_rest(len(payload), self.sequence, kind)
        checksum: int
        if len(payload) < COPIED_BYTES_MAX:
            checksum = crc32c(rest + payload, self._seed)
        else:
            checksum = crc32c(payload, crc32c(rest, self._seed))
        self.sequence += 1
        return self._sync + checksum.to_bytes(_CHECKSUM_BYTES, "little") + rest
