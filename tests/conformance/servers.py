"""Servers that nobody here wrote, and a pointsman in front of one, each ended with its block."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.conformance import environments
from tests.support.served import Served

START_S_MAX = 30.0
SPECIFICATION = environments.ROOT.parent / "shared/data/openapi/openapi.transformed.yml"


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def running(words: list[str], port: int, log: Path) -> Iterator[str]:
    """A program until it listens on `port`; ended, with its children, at the block's end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        _wait_for(process, port, log)
        yield f"127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)


def _wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline_s = time.monotonic() + START_S_MAX
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline_s, log.read_text()[-2000:]
        time.sleep(0.05)


@contextmanager
def steady(directory: Path) -> Iterator[str]:
    """The mock of OpenAI's API that openai-python's own tests are written against."""
    if not SPECIFICATION.is_file():
        raise environments.Unavailable("no ../shared/data/openapi: the description is not there")
    port = free_port()
    options = [
        f"--validator-{which}-{kind}-format=brackets"
        for which in ("query", "form")
        for kind in ("array", "object")
    ]
    words = [*environments.npm_program("steady"), "--host", "127.0.0.1", "-p", str(port), "-q"]
    with running([*words, *options, str(SPECIFICATION)], port, directory / "steady.log") as address:
        yield address


@contextmanager
def aimock(directory: Path, fixtures: Path, *options: str) -> Iterator[str]:
    """An upstream that plays recorded answers, and chaos where it is asked for."""
    port = free_port()
    words = [*environments.npm_program("llmock"), "-p", str(port), "-f", str(fixtures)]
    words += ["--log-level", "silent", *options]
    with running(words, port, directory / "aimock.log") as address:
        yield address


@contextmanager
def pointsman(directory: Path, text: str, *, workers: int = 1) -> Iterator[Served]:
    """A real instance with this configuration, its listeners on ports of their own."""
    directory.mkdir(exist_ok=True)
    path = directory / "config.yaml"
    path.write_text(f"listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n{text}")
    with Served(path, workers=workers) as served:
        yield served
