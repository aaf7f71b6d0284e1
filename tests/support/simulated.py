"""The simulator in a test's own loop, and simulated backends without a config file."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
from aiohttp import web
from openai import AsyncOpenAI

from adapters.backend import Backend
from adapters.declared import load_backends
from adapters.simulated.server import Simulator
from pointsman.decoding import Findings
from pointsman.document import parse


class Address(NamedTuple):
    """Where the simulator listens."""

    host: str
    port: int


def backends_from(text: str, directory: Path = Path(), **environment: str) -> dict[str, Backend]:
    """The backends of a YAML mapping. Raises ConfigError."""
    findings = Findings()
    backends = load_backends(
        parse(text, "config.yaml"),
        findings=findings,
        directory=directory,
        environment=environment,
    )
    findings.raise_if_any()
    return backends


@asynccontextmanager
async def running(backends: Mapping[str, Backend]) -> AsyncIterator[Address]:
    """Play the simulated ones of `backends` on a loopback port."""
    async with playing(Simulator(backends)) as address:
        yield address


@asynccontextmanager
async def playing(simulator: Simulator) -> AsyncIterator[Address]:
    """The same for a simulator whose counters the test wants to read."""
    runner = simulator.runner(stop_s=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield Address(host, port)
    finally:
        await runner.cleanup()


INSTANT = "{speed: instant}"
ASK = [{"role": "user", "content": "How many points has the yard at Crewe?"}]


@asynccontextmanager
async def client_of(
    profile: str = INSTANT, *, directory: Path = Path(), retries: int = 0
) -> AsyncIterator[AsyncOpenAI]:
    """The official client, straight at one simulated backend `b` with model `m`."""
    backends = backends_from(f"b: {{adapter: simulated, model: m, profile: {profile}}}", directory)
    async with running(backends) as (host, port):
        client = AsyncOpenAI(
            base_url=f"http://{host}:{port}/b/v1", api_key="none", max_retries=retries
        )
        async with client:
            yield client


async def ask(client: AsyncOpenAI, prompt: str) -> str:
    """The text of the answer to one user message."""
    answer = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}]
    )
    return answer.choices[0].message.content or ""


async def failing(client: AsyncOpenAI, faults: str, *, is_stream: bool = False) -> None:
    """Ask with `faults`, and read a stream to its end."""
    answer = await client.chat.completions.create(
        model="m", messages=ASK, stream=is_stream, metadata={"simulate": faults}
    )
    if is_stream:
        async for _ in answer:  # type: ignore[union-attr]
            pass


async def body_pieces(client: AsyncOpenAI, extra: dict[str, object]) -> AsyncIterator[bytes]:
    """The raw body of an answer, as it comes; `extra` are more members of the request."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{client.base_url}chat/completions", json={"model": "m", "messages": ASK} | extra
        ) as response,
    ):
        async for data in response.content.iter_any():
            yield data


async def collect(client: AsyncOpenAI, extra: dict[str, object], got: bytearray) -> None:
    """Add a raw body to `got`, so that what came before a failure is kept."""
    async for data in body_pieces(client, extra):
        got += data


async def raw(client: AsyncOpenAI, extra: dict[str, object]) -> bytes:
    """The whole raw body."""
    return b"".join([data async for data in body_pieces(client, extra)])


async def data_lines(client: AsyncOpenAI, extra: dict[str, object]) -> AsyncIterator[str]:
    """The data of each event of a stream."""
    for event in (await raw(client, extra)).decode().split("\n\n")[:-1]:
        yield event.removeprefix("data: ")
