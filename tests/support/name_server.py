"""A name server that answers as it is told: an address, NXDOMAIN, SERVFAIL, late or never.

    with (
        NameServer({"backend.test": "127.0.0.1"}) as names,
        Served(config, before=names.led_here(tmp_path)) as served,
    ):
        ...

Real DNS over UDP (RFC 1035, one question a message), so the C library's own resolver is what is
tested. It listens on port 53 of a loopback address of its own; a process is led there by a
resolv.conf that is mounted over the machine's in a mount namespace. Both need root: elsewhere
the test is skipped.
"""

import socket
import struct
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

ADDRESSES = tuple(f"127.0.0.{last}" for last in range(77, 93))
"""One for each test run that may be under way at the same time."""
PORT = 53
TTL_S = 1
NO_ERROR, SERVFAIL_CODE, NXDOMAIN_CODE = 0, 2, 3
TYPE_A, CLASS_IN = 1, 1
RESPONSE = 0x8580
"""Flags: a response, authoritative, recursion desired and available."""

_IN_NAMESPACE = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
_MOUNT = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


class NameServer:
    """A context manager. `answers` may be changed at any time: a name's IPv4 address,
    `NXDOMAIN`, `SERVFAIL` or `silence`."""

    def __init__(self, answers: Mapping[str, str] = {}) -> None:
        self.answers: dict[str, str] = dict(answers)
        self.delay_s = 0.0
        """How long every answer takes."""
        self.asked: list[tuple[float, str]] = []
        """(moment, name) of each question for an IPv4 address."""
        self._socket, self.address = _bound()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._is_stopping = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_stopping.set()
        self._thread.join(5)
        self._socket.close()

    def led_here(self, directory: Path) -> tuple[str, ...]:
        """Words before a command, so that it resolves names here; skips where that is refused."""
        file = directory / "resolv.conf"
        file.write_text(f"nameserver {self.address}\noptions timeout:2 attempts:1\n")
        words = (*_IN_NAMESPACE, _MOUNT, str(file))
        tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
        if tried.returncode:
            pytest.skip(f"mount namespaces are not permitted here: {tried.stderr.strip()}")
        return words

    def _serve(self) -> None:
        self._socket.settimeout(0.05)
        while not self._is_stopping.is_set():
            try:
                message, peer = self._socket.recvfrom(512)
            except TimeoutError:
                continue
            threading.Thread(target=self._reply, args=(message, peer), daemon=True).start()

    def _reply(self, message: bytes, peer: tuple[str, int]) -> None:
        name, end = _name_in(message)
        kind = struct.unpack_from(">H", message, end)[0]
        if kind == TYPE_A:
            self.asked.append((time.monotonic(), name))
        time.sleep(self.delay_s)
        said = self.answers.get(name, "NXDOMAIN")
        if said == "silence" or self._is_stopping.is_set():
            return
        self._socket.sendto(answer_to(message, said), peer)


def _bound() -> tuple[socket.socket, str]:
    """A socket on port 53 of the first address that is free."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for address in ADDRESSES:
        try:
            opened.bind((address, PORT))
        except PermissionError:
            opened.close()
            pytest.skip("only root may listen on port 53")
        except OSError:
            continue
        return opened, address
    raise AssertionError("all addresses of the name server are taken")


def answer_to(message: bytes, said: str) -> bytes:
    """The response to one question; an address of another kind than asked for is no answer."""
    _, end = _name_in(message)
    kind = struct.unpack_from(">H", message, end)[0]
    codes = {"NXDOMAIN": NXDOMAIN_CODE, "SERVFAIL": SERVFAIL_CODE}
    code = codes.get(said, NO_ERROR)
    has_answer = code == NO_ERROR and kind == TYPE_A
    head = struct.pack(
        ">HHHHHH", *struct.unpack_from(">H", message), RESPONSE | code, 1, has_answer, 0, 0
    )
    record = b""
    if has_answer:
        data = socket.inet_aton(said)
        record = struct.pack(">HHHIH", 0xC00C, TYPE_A, CLASS_IN, TTL_S, len(data)) + data
    return head + message[12 : end + 4] + record


def _name_in(message: bytes) -> tuple[str, int]:
    """The name in the question, and where it ends."""
    labels = []
    at = 12
    while length := message[at]:
        labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels).lower(), at + 1
