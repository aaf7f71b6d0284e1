"""Reads of 64 KB behind a pause, on uvloop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from adapters.small_reads import READ_BYTES, SmallReads
from tests.support.heard import on_uvloop

BODY = bytes(range(256)) * 12_288  # 3 MB


class Reader(asyncio.Protocol):
    """Remembers the sizes of what it is given, and whether it all came."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.told: list[str] = []
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop registers no base class

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        if not self.first.done():
            self.transport.pause_reading()
            self.first.set_result(None)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return False

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.lost.set_result(None)


@asynccontextmanager
async def reading() -> AsyncIterator[tuple[Reader, socket.socket]]:
    """A reader that has paused itself after its first byte, and its peer's end."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        transport, reader = await loop.create_connection(Reader, *listening.getsockname())
        peer, _ = listening.accept()
        peer.setblocking(False)
        with peer:
            await loop.sock_sendall(peer, b"!")
            await reader.first
            yield reader, peer
        transport.abort()


@on_uvloop
async def test_all_of_it_comes_in_small_pieces() -> None:
    loop = asyncio.get_running_loop()
    async with reading() as (reader, peer):
        reader.transport.set_protocol(SmallReads(reader))
        reader.transport.resume_reading()
        await loop.sock_sendall(peer, BODY)
        peer.shutdown(socket.SHUT_WR)
        await asyncio.wait_for(reader.lost, 10)
    assert b"".join(reader.pieces) == b"!" + BODY
    assert max(map(len, reader.pieces)) <= READ_BYTES
    assert reader.told == ["eof", "lost"]


@on_uvloop
async def test_without_it_pieces_are_large() -> None:
    """What the module is for: should a newer event loop read less, it can go."""
    loop = asyncio.get_running_loop()
    async with reading() as (reader, peer):
        sending = asyncio.ensure_future(loop.sock_sendall(peer, BODY))
        await asyncio.sleep(0.1)  # the kernel's buffers are full
        reader.transport.resume_reading()
        await sending
        peer.shutdown(socket.SHUT_WR)
        await asyncio.wait_for(reader.lost, 10)
    assert b"".join(reader.pieces) == b"!" + BODY
    assert max(map(len, reader.pieces)) > READ_BYTES


@on_uvloop
async def test_writing_is_paused_through_it() -> None:
    async with reading() as (reader, peer):
        reader.transport.set_protocol(SmallReads(reader))
        reader.transport.write(bytes(8 << 20))
        await asyncio.sleep(0.05)
        assert reader.told == ["pause"]
        loop = asyncio.get_running_loop()
        taken = 0
        while taken < 8 << 20:
            taken += len(await loop.sock_recv(peer, 1 << 20))
        await asyncio.sleep(0.05)
        assert reader.told == ["pause", "resume"]
