"""Reads of 64 KB for a connection whose reader is slow.

uvloop reads up to 250 KB at once into a buffer of the connection's own, and that much of an
answer would then wait in memory for every slow client. All connections share one buffer here:
what was read is copied out of it before the next one reads.
"""

import asyncio
from typing import Final

READ_BYTES: Final = 64 * 1024

_BUFFER: Final = memoryview(bytearray(READ_BYTES))


class SmallReads(asyncio.BufferedProtocol):
    """Stands between a transport and its protocol; takes effect when reading goes on."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self._protocol.data_received(bytes(_BUFFER[:nbytes]))

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
