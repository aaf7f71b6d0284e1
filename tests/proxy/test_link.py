"""The worker's end: connects again, reports, and is not harmed by a keeper's absence."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.control_pair import FakeWorker, Pair, until

WHICH = ("requests_total", ())


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    made = Pair(tmp_path)
    yield made
    await made.close()


async def test_connects_again_to_the_next_keeper(pair: Pair) -> None:
    first = await pair.hub()
    worker = FakeWorker()
    worker.values = {WHICH: 1.0}
    pair.link(0, worker)
    await until(lambda: first.counters() == {WHICH: 1.0})
    first.close()
    second = await pair.hub(generation=1)
    await until(lambda: second.counters() == {WHICH: 1.0} and worker.generation == 1)
    second.close()


async def test_a_last_report_can_be_forced_out(pair: Pair) -> None:
    hub = await pair.hub()
    worker = FakeWorker()
    link = pair.link(0, worker)
    await until(lambda: hub.connected == 1)
    worker.values = {WHICH: 7.0}
    link.report_now()
    await link.flush(1.0)
    pair.tasks[0].cancel()
    await until(lambda: hub.counters() == {WHICH: 7.0})
    hub.close()


async def test_without_a_keeper_it_tries_on_and_says_so(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.listening.close()
    pair.path.unlink()
    link = pair.link(0, FakeWorker())
    await until(lambda: len(pair.troubles) >= 2)
    link.report_now()
    await link.flush(0.1)
    assert not pair.tasks[0].done()
    await pair.close()


async def test_garbage_from_the_other_side_ends_the_connection_only(pair: Pair) -> None:
    async def speak_garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x01\0\0\0\xff")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(speak_garbage, sock=pair.listening.dup())
    pair.link(0, FakeWorker())
    await until(lambda: pair.troubles)
    server.close()
    assert not pair.tasks[0].done()
