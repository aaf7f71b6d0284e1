"""The simulated server: its routes, its clients, its process."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI

from adapters.simulated.server import Simulator
from tests.support.simulated import (
    ASK,
    ask,
    backends_from,
    client_of,
    playing,
    running,
)


async def test_stops_answering_when_its_client_is_gone() -> None:
    simulator = Simulator(backends_from("b: {adapter: simulated, model: m, profile: o3-mini}"))
    async with playing(simulator) as (host, port):
        client = AsyncOpenAI(base_url=f"http://{host}:{port}/b/v1", api_key="none", max_retries=0)
        async with client:
            with pytest.raises(openai.APITimeoutError):
                await client.with_options(timeout=0.2).chat.completions.create(
                    model="m", messages=ASK
                )
            await asyncio.sleep(0.1)
    assert (simulator.cancelled, simulator.in_flight) == (1, 0)


async def test_unknown_backends_are_not_found() -> None:
    async with client_of() as client:
        other = client.with_options(base_url=str(client.base_url).replace("/b/", "/c/"))
        with pytest.raises(openai.NotFoundError):
            await ask(other, "?")


async def test_a_backend_name_with_a_slash_has_a_path() -> None:
    backends = backends_from("a/b: {adapter: simulated, model: m, profile: {speed: instant}}")
    async with running(backends) as (host, port):
        url = f"http://{host}:{port}/a%2Fb/v1"
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            assert await ask(client, "?")


SERVE = """
import os, socket, sys
from adapters.simulated.server import serve_simulated
from tests.support.simulated import backends_from
listening = socket.socket(fileno=int(sys.argv[1]))
serve_simulated(listening, backends_from("b: {adapter: simulated, profile: {speed: instant}}"))
"""


def serving(listening: socket.socket, *before: str) -> subprocess.Popen[str]:
    """The simulator's process; `before` is a command that starts it in its turn."""
    return subprocess.Popen(
        [*before, sys.executable, "-c", SERVE, str(listening.fileno())],
        pass_fds=[listening.fileno()],
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until_serving(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /b/v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in connection.recv(1000)


def test_its_process_ends_at_sigterm() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = serving(listening)
        wait_until_serving(listening.getsockname()[1])
        process.terminate()
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.communicate()


def test_its_process_ends_when_its_parent_is_gone() -> None:
    """The shell in between says its child's id and is killed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        shell = serving(listening, "/bin/sh", "-c", '"$@" & echo $!; wait', "sh")
        assert shell.stdout is not None
        child = Path(f"/proc/{int(shell.stdout.readline())}")
        wait_until_serving(listening.getsockname()[1])
        shell.kill()
        shell.wait()
        shell.stdout.close()  # the child holds its other end, should it live on
        deadline = time.monotonic() + 10
        while child.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        is_left = child.exists()
        if is_left:
            os.kill(int(child.name), signal.SIGKILL)
        assert not is_left
