"""The keeper's end: sums over workers, reloads that wait for all, learned state for each."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.standing import Standing
from policies.canary_run import Arm
from proxy.control import CanaryArms, ProbeAnswer, ProbeWanted, Suspended
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


# -- backends ------------------------------------------------------------------------------------


async def test_what_one_worker_finds_out_all_hear(pair: Pair) -> None:
    hub = await pair.hub()
    first, second = FakeWorker(), FakeWorker()
    told = Standing("a", "failing", "5 failures in a row", 10.0, 15.0, 10.0)
    link = pair.link(0, first)
    pair.link(1, second)
    await until(lambda: hub.connected == 2)
    assert link.ask(told)
    await until(lambda: second.news == [told])
    assert first.news == []
    late = FakeWorker()
    pair.link(2, late)
    await until(lambda: late.news == [told])
    await hub.reload(1, timeout_s=5)
    latest = FakeWorker(generation=1)
    pair.link(3, latest)
    await until(lambda: hub.connected == 4)
    assert latest.news == []
    hub.close()


async def test_a_new_keeper_hears_what_workers_hold_against_backends(pair: Pair) -> None:
    first, second = FakeWorker(), FakeWorker()
    first.held = [Standing("a", "failing", "", 10.0, 15.0, 10.0)]
    hub = await pair.hub()
    pair.link(0, first)
    pair.link(1, second)
    await until(lambda: second.news == first.held)
    hub.close()


async def test_one_worker_at_a_time_may_try_a_backend(pair: Pair) -> None:
    hub = await pair.hub()
    first, second = FakeWorker(), FakeWorker()
    links = [pair.link(0, first, pid=10), pair.link(1, second, pid=11)]
    await until(lambda: hub.connected == 2)
    assert links[0].ask(ProbeWanted("a"))
    await until(lambda: first.news == [ProbeAnswer("a", True)])
    assert links[1].ask(ProbeWanted("a"))
    await until(lambda: second.news == [ProbeAnswer("a", False)])
    hub.close()


async def test_a_worker_and_its_successor_are_counted_side_by_side(pair: Pair) -> None:
    hub = await pair.hub()
    old, new = FakeWorker(), FakeWorker()
    old.values, new.values = {WHICH: 10.0}, {WHICH: 1.0}
    pair.link(0, old, pid=100)
    await until(lambda: hub.counters().get(WHICH) == 10.0)
    pair.link(0, new, pid=101)
    await until(lambda: hub.counters().get(WHICH) == 11.0)
    old.values = {WHICH: 12.0}
    await until(lambda: hub.counters().get(WHICH) == 13.0)
    pair.tasks[0].cancel()
    new.values = {WHICH: 3.0}
    await until(lambda: hub.counters().get(WHICH) == 15.0)
    assert hub.connected == 1
    hub.close()


async def test_knows_how_many_are_not_ready_but_asks_only_the_heirs(pair: Pair) -> None:
    hub = await pair.hub()
    old, new = FakeWorker(), FakeWorker()
    old.more_state = {"ready": False}
    pair.link(0, old, pid=100)
    await until(lambda: hub.refusing == 1)
    pair.link(0, new, pid=101)
    await until(lambda: hub.refusing == 0)
    new.more_state = {"ready": False}
    await until(lambda: hub.refusing == 1)
    hub.close()


async def test_orders_reach_every_worker_and_those_that_come_later(pair: Pair) -> None:
    hub = await pair.hub()
    first, second = FakeWorker(), FakeWorker()
    pair.link(0, first)
    await until(lambda: hub.connected == 1)
    hub.order(CanaryArms({"extract": Arm("new", "old", 0.1)}))
    hub.order(CanaryArms({}))
    hub.order(Suspended({"extract": {"proof": "refuted"}}))
    latest = [CanaryArms({}), Suspended({"extract": {"proof": "refuted"}})]
    await until(lambda: len(first.orders) == 3)
    assert first.orders[1:] == latest
    pair.link(1, second)
    await until(lambda: second.orders == latest)
    hub.close()
