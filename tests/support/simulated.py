"""The simulator in a test's own loop, and simulated backends without a config file."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from adapters.backend import Backend, load_backends
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
