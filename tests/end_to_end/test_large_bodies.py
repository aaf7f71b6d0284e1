"""Two hundred megabytes up, and down, through a served worker: its memory stays flat."""

import hashlib
import socket
import time
from pathlib import Path

import pytest

from tests.support.certificates import make_certificates
from tests.support.plane import config
from tests.support.scripted import Connection, Script, ScriptedUpstream, Step, response
from tests.support.served import Served

LARGE_BYTES = 200 << 20
PIECE = b"0123456789abcdef" * 4096
GROWTH_BYTES_MAX = 16 << 20
"""What two connections' buffers, the TLS between and a garbage collector may hold for a while."""
WAIT_S = 60.0


def slow_swallow(connection: Connection) -> None:
    """Take nothing at first: what is read of the client must wait somewhere."""
    time.sleep(0.5)
    connection.swallow_request()


def large_answer(connection: Connection) -> None:
    """As fast as it is taken."""
    connection.read_request()
    head = response(b"", content_type="application/octet-stream")
    connection.send(head.replace(b"content-length: 0", b"content-length: %d" % LARGE_BYTES))
    for _ in range(LARGE_BYTES // len(PIECE)):
        connection.send(PIECE)


def peak_bytes(pid: int) -> int:
    """The most memory a process ever held since `forget_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def forget_peak(pid: int) -> int:
    """Begin anew; returns what is held now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_bytes(pid)


def served(directory: Path, upstream: ScriptedUpstream, top: str, tls: str) -> Served:
    file = directory / "config.yaml"
    declared = f"adapter: openai, base_url: '{upstream.base_url}', model: m{tls}"
    file.write_text(config("  default: {candidates: [a]}", top=top, a=declared))
    return Served(file)


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(("way", "step"), [("up", slow_swallow), ("down", large_answer)])
def test_memory_is_flat_whatever_the_size(
    tmp_path: Path, way: str, step: Step, is_tls: bool
) -> None:
    certificates = make_certificates(tmp_path) if is_tls else None
    script: Script = [step, response(b"{}")] if way == "up" else [step]
    tls = f", tls: {{ca: '{certificates.ca_file}'}}" if certificates else ""
    top = 'passthrough: [{path: "/v1/files*", backend: a}]'
    context = certificates.server_context if certificates else None
    with (
        ScriptedUpstream(script, tls=context) as upstream,
        served(tmp_path, upstream, top, tls) as server,
    ):
        (pid,) = [pid for name, pid in server.children().items() if name == "worker 0"]
        before = forget_peak(pid)
        digest = upload(server) if way == "up" else download(server)
        growth = peak_bytes(pid) - before
        assert growth < GROWTH_BYTES_MAX, f"{growth / 1e6:.1f} MB on top of {before / 1e6:.1f}"
        if way == "up":
            assert upstream.connections[0].swallowed == [digest]
        else:
            assert digest == whole_digest()


def whole_digest() -> str:
    digest = hashlib.sha256()
    for _ in range(LARGE_BYTES // len(PIECE)):
        digest.update(PIECE)
    return digest.hexdigest()


def opened(server: Served, head: str) -> socket.socket:
    host, _, port = server.listen.rpartition(":")
    client = socket.create_connection((host, int(port)), WAIT_S)
    client.sendall(head.encode())
    return client


def upload(server: Served) -> str:
    """Send it all; the digest of what was sent."""
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE_BYTES}\r\n\r\n"
    with opened(server, head) as client:
        for _ in range(LARGE_BYTES // len(PIECE)):
            client.sendall(PIECE)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
    return whole_digest()


def download(server: Served) -> str:
    """Read it all, with a rest in between; the digest of what was read."""
    digest, read_bytes, unread = hashlib.sha256(), 0, b""
    with opened(server, "GET /v1/files/f/content HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        while b"\r\n\r\n" not in unread:
            unread += client.recv(1 << 16)
        body = unread.partition(b"\r\n\r\n")[2]
        time.sleep(0.5)
        while True:
            digest.update(body)
            read_bytes += len(body)
            if read_bytes >= LARGE_BYTES:
                return digest.hexdigest()
            body = client.recv(1 << 20)
            assert body
