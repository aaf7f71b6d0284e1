"""The scripted upstream does what its steps say, and sees what is done to it."""

import socket
import ssl
import time
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.certificates import make_certificates
from tests.support.scripted import (
    ScriptedUpstream,
    answering,
    drip,
    fin,
    notify,
    repeat,
    request,
    reset,
    response,
    stall,
    swallow,
)

ASK = b"POST /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"


def read_to_end(opened: socket.socket) -> bytes:
    opened.settimeout(5)
    pieces = []
    while piece := opened.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_answers_requests_in_turn_and_ends_with_fin() -> None:
    script = [request, response(b"1"), request, drip(response(b"2")), fin]
    with ScriptedUpstream(script) as upstream:
        with socket.create_connection(("127.0.0.1", upstream.port)) as client:
            client.sendall(ASK + ASK)
            got = read_to_end(client)
        connection = upstream.wait_until_finished()
    assert got == response(b"1") + response(b"2")
    assert upstream.requests == [ASK, ASK]
    assert connection.received == ASK + ASK
    assert (connection.closed_how, connection.failure) == (None, None)


def test_answers_each_request_as_it_is_told() -> None:
    def make(asked: bytes) -> bytes | list[object]:
        return response(asked[-2:]) if asked.endswith(b"1}") else [response(b"last"), fin]

    with ScriptedUpstream([answering(make)]) as upstream:  # type: ignore[arg-type]
        with socket.create_connection(("127.0.0.1", upstream.port)) as client:
            for body in (b"1}", b"1}", b"{}"):
                client.sendall(ASK[:-2] + body)
            got = read_to_end(client)
        upstream.wait_until_finished()
    assert got == response(b"1}") * 2 + response(b"last")
    assert len(upstream.requests) == 3


def test_swallows_a_large_request_and_knows_its_digest() -> None:
    body = b"0123456789abcdef" * 500_000
    head = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    with ScriptedUpstream([swallow, response(b"1"), request, response(b"2"), fin]) as upstream:
        with socket.create_connection(("127.0.0.1", upstream.port)) as client:
            client.sendall(head + body)
            client.sendall(ASK)
            assert read_to_end(client) == response(b"1") + response(b"2")
        connection = upstream.wait_until_finished()
    assert connection.swallowed == [sha256(body).hexdigest()]
    assert upstream.requests == [head, ASK]
    assert len(connection.received) < 1_000_000


def test_resets() -> None:
    with (
        ScriptedUpstream([request, b"HTTP/1.1 200", reset]) as upstream,
        socket.create_connection(("127.0.0.1", upstream.port)) as client,
    ):
        client.sendall(ASK)
        with pytest.raises(ConnectionResetError):
            read_to_end(client)


@pytest.mark.parametrize("step", [stall(30), repeat(b"x" * 65536, 100_000)])
def test_sees_at_once_that_its_peer_is_gone(step: object) -> None:
    with ScriptedUpstream([request, step]) as upstream:  # type: ignore[list-item]
        client = socket.create_connection(("127.0.0.1", upstream.port))
        client.sendall(ASK)
        time.sleep(0.05)
        closed_at = time.monotonic()
        client.close()
        connection = upstream.wait_until_finished()
    assert connection.closed_at is not None
    assert 0 <= connection.closed_at - closed_at < 0.5


@pytest.mark.parametrize(("end", "is_clean"), [(notify, True), (fin, False)])
def test_tls_ends_with_or_without_close_notify(tmp_path: Path, end: object, is_clean: bool) -> None:
    certificates = make_certificates(tmp_path)
    context = certificates.client_context()
    with ScriptedUpstream([request, response(b"{}"), end], tls=certificates.server_context) as up:
        plain = socket.create_connection(("127.0.0.1", up.port))
        client = context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)
        with client:
            client.sendall(ASK)
            assert client.recv(1000) == response(b"{}")
            if is_clean:
                assert client.recv(1000) == b""
            else:
                with pytest.raises(ssl.SSLEOFError):
                    client.recv(1000)
