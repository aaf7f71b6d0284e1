"""Bytes that have come and were not read."""

import asyncio
import socket

import pytest

from proxy.unread import has_unread


@pytest.mark.parametrize("end", [b"GET", b""])
async def test_sees_what_lies_in_the_kernel(end: bytes) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
    assert not has_unread(transport)
    transport.pause_reading()
    far.sendall(end) if end else far.shutdown(socket.SHUT_WR)
    assert has_unread(transport)
    transport.abort()
    await asyncio.sleep(0.01)
    assert not has_unread(transport)
    far.close()
