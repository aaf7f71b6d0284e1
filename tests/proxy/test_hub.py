"""The keeper's end: sums over workers, reloads that wait for all, learned state for each."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.control_pair import FakeWorker, Pair, until

WHICH = ("requests_total", (("route", "a"),))


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    made = Pair(tmp_path)
    yield made
    await made.close()


async def test_adds_up_what_workers_count(pair: Pair) -> None:
    hub = await pair.hub()
    for worker in (0, 1):
        subject = FakeWorker()
        subject.values = {WHICH: 2.0 + worker}
        pair.link(worker, subject)
    await until(lambda: hub.counters().get(WHICH) == 5.0)
    assert set(hub.states()) == {"worker 0", "worker 1"}
    hub.close()


async def test_a_dead_workers_counts_stay_in_the_sum(pair: Pair) -> None:
    hub = await pair.hub()
    first = FakeWorker()
    first.values = {WHICH: 10.0}
    pair.link(0, first, pid=100)
    await until(lambda: hub.counters().get(WHICH) == 10.0)
    pair.tasks[0].cancel()
    await until(lambda: hub.connected == 0)
    second = FakeWorker()
    second.values = {WHICH: 1.0}
    pair.link(0, second, pid=101)
    await until(lambda: hub.counters().get(WHICH) == 11.0)
    hub.close()


async def test_a_dead_workers_gauges_do_not(pair: Pair) -> None:
    hub = await pair.hub()
    subject = FakeWorker()
    gauge = ("queue_bytes", ())
    subject.values = {WHICH: 1.0, gauge: 5.0}
    pair.link(0, subject)
    await until(lambda: hub.counters() == {WHICH: 1.0, gauge: 5.0})
    pair.tasks[0].cancel()
    await until(lambda: hub.counters() == {WHICH: 1.0})
    hub.close()


async def test_the_same_process_connecting_again_is_not_counted_twice(pair: Pair) -> None:
    hub = await pair.hub()
    subject = FakeWorker()
    subject.values = {WHICH: 10.0}
    pair.link(0, subject, pid=100)
    await until(lambda: hub.counters().get(WHICH) == 10.0)
    pair.tasks[0].cancel()
    await until(lambda: hub.connected == 0)
    subject.values = {WHICH: 12.0}
    pair.link(0, subject, pid=100)
    await until(lambda: hub.counters().get(WHICH) == 12.0)
    hub.close()


async def test_a_reload_waits_for_every_worker(pair: Pair) -> None:
    hub = await pair.hub()
    workers = [FakeWorker(), FakeWorker()]
    for index, worker in enumerate(workers):
        pair.link(index, worker)
    await until(lambda: hub.connected == 2)
    assert await hub.reload(1, timeout_s=5) == []
    assert [worker.generation for worker in workers] == [1, 1]
    hub.close()


async def test_a_reload_says_which_worker_could_not(pair: Pair) -> None:
    hub = await pair.hub()
    good, bad = FakeWorker(), FakeWorker()
    bad.failure = ValueError("no certificate")
    pair.link(0, good)
    pair.link(1, bad)
    await until(lambda: hub.connected == 2)
    assert await hub.reload(1, timeout_s=5) == ["worker 1: ValueError: no certificate"]
    hub.close()


async def test_a_reload_does_not_wait_for_a_stuck_worker_for_ever(pair: Pair) -> None:
    hub = await pair.hub()
    stuck = FakeWorker()
    stuck.is_stuck = True
    pair.link(0, stuck)
    await until(lambda: hub.connected == 1)
    assert await hub.reload(1, timeout_s=0.05) == ["worker 0 did not answer within 0.05 s"]
    hub.close()


async def test_a_reload_does_not_wait_for_a_worker_that_died(pair: Pair) -> None:
    hub = await pair.hub()
    stuck = FakeWorker()
    stuck.is_stuck = True
    pair.link(0, stuck)
    await until(lambda: hub.connected == 1)
    pair.tasks[0].get_loop().call_later(0.05, pair.tasks[0].cancel)
    assert await hub.reload(1, timeout_s=5) == []
    hub.close()


async def test_a_worker_that_missed_a_reload_is_told_when_it_connects(pair: Pair) -> None:
    hub = await pair.hub(generation=4)
    late = FakeWorker(generation=3)
    pair.link(0, late)
    await until(lambda: late.generation == 4)
    hub.close()


async def test_learned_state_reaches_present_and_later_workers(pair: Pair) -> None:
    hub = await pair.hub()
    early, late = FakeWorker(), FakeWorker()
    pair.link(0, early)
    await until(lambda: hub.connected == 1)
    hub.share_learned(b"state")
    pair.link(1, late)
    await until(lambda: early.learned == [b"state"] and late.learned == [b"state"])
    hub.close()
