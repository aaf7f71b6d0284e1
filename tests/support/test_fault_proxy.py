"""The fault proxy passes all it is not told to spoil, and spoils what it is told to."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.fault_proxy import (
    Fault,
    FaultProxy,
    bandwidth,
    black_hole,
    end_after,
    latency,
    slices,
    stall_after,
    unanswered_port,
)
from tests.support.scripted import ScriptedUpstream, fin, repeat, request, reset, stall

ASK = b"POST /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
ANSWER = b"0123456789" * 20


@contextmanager
def behind(*faults: Fault, upstream: tuple[Fault, ...] = ()) -> Iterator[socket.socket]:
    """A client of an upstream that answers and closes, with faults on the way down."""
    with (
        ScriptedUpstream([request, ANSWER, fin]) as far,
        FaultProxy(far.port, upstream=upstream, downstream=faults) as link,
        socket.create_connection(("127.0.0.1", link.port), 5) as client,
    ):
        client.sendall(ASK)
        yield client


def pieces_of(client: socket.socket) -> list[bytes]:
    """Each read until the end."""
    return list(iter(lambda: client.recv(65536), b""))


def test_passes_everything_both_ways_and_the_end() -> None:
    with behind() as client:
        assert b"".join(pieces_of(client)) == ANSWER


def test_passes_much() -> None:
    with (
        ScriptedUpstream([request, repeat(b"x" * 100_000, 200), fin]) as far,
        FaultProxy(far.port) as link,
        socket.create_connection(("127.0.0.1", link.port), 5) as client,
    ):
        client.sendall(ASK)
        assert sum(map(len, pieces_of(client))) == 20_000_000


def test_passes_a_reset_of_either_end() -> None:
    with (
        ScriptedUpstream([request, reset], [request, stall(30)]) as far,
        FaultProxy(far.port) as up,
    ):
        with socket.create_connection(("127.0.0.1", up.port), 5) as client:
            client.sendall(ASK)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        with socket.create_connection(("127.0.0.1", up.port), 5) as client:
            client.sendall(ASK)
            far.wait_for_connection(2)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert far.wait_until_finished(2).closed_how == "reset"


@pytest.mark.timed
def test_delays() -> None:
    started_s = time.monotonic()
    with behind(latency(0.2, 0.05, seed=1)) as client:
        pieces_of(client)
    assert 0.15 < time.monotonic() - started_s < 1.0


def test_slices() -> None:
    with behind(slices(7, 0.003)) as client:
        pieces = pieces_of(client)
    assert b"".join(pieces) == ANSWER
    assert len(pieces) > len(ANSWER) // 7 // 2


@pytest.mark.timed
def test_limits_the_bandwidth() -> None:
    started_s = time.monotonic()
    with behind(bandwidth(len(ANSWER) / 0.3)) as client:
        assert b"".join(pieces_of(client)) == ANSWER
    assert 0.25 < time.monotonic() - started_s < 1.5


def test_stalls_and_stays_open() -> None:
    with behind(stall_after(13)) as client:
        client.settimeout(0.3)
        assert client.recv(100) == ANSWER[:13]
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_stall_sees_its_client_leave() -> None:
    with (
        ScriptedUpstream([request, ANSWER, stall(30)]) as far,
        FaultProxy(far.port, downstream=[stall_after(5)]) as link,
    ):
        with socket.create_connection(("127.0.0.1", link.port), 5) as client:
            client.sendall(ASK)
            assert client.recv(100) == ANSWER[:5]
        assert far.wait_until_finished().closed_how is not None


def test_truncates_with_a_clean_end() -> None:
    with behind(end_after(50, "fin")) as client:
        assert b"".join(pieces_of(client)) == ANSWER[:50]


def test_resets_behind_what_was_read() -> None:
    with behind(end_after(50, "reset")) as client:
        assert client.recv(100) == ANSWER[:50]
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_resets_before_anything_was_said() -> None:
    with behind(end_after(0, "reset")) as client, pytest.raises(ConnectionResetError):
        client.recv(1)


def test_ends_one_way_only() -> None:
    with (
        ScriptedUpstream([request, ANSWER, request, fin]) as far,
        FaultProxy(far.port, downstream=[end_after(50, "half")]) as link,
        socket.create_connection(("127.0.0.1", link.port), 5) as client,
    ):
        client.sendall(ASK)
        assert b"".join(pieces_of(client)) == ANSWER[:50]
        client.sendall(ASK)  # this way still passes
        far.wait_until_finished()
        assert far.requests == [ASK, ASK]


def test_swallows_what_goes_up() -> None:
    with behind(upstream=(black_hole,)) as client:
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_faults_add_up() -> None:
    with behind(slices(10, 0.001), end_after(25, "fin")) as client:
        assert b"".join(pieces_of(client)) == ANSWER[:25]


def test_a_closed_port_refuses_and_opens_again() -> None:
    with ScriptedUpstream([request, ANSWER, stall(30)]) as far, FaultProxy(far.port) as link:
        port = link.port
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(ASK)
            assert client.recv(1000) == ANSWER
            link.close_port()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        link.open_port()
        assert link.port == port
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(ASK)
            assert client.recv(1000) == ANSWER
        assert link.connected == 2


def test_a_target_that_is_not_there_resets() -> None:
    with (
        FaultProxy(1) as link,
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", link.port), 5) as client,
    ):
        client.recv(1)


def test_nobody_answers_a_connect() -> None:
    with unanswered_port() as port, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), 0.3)
