"""The keeper's fold: into the store, into what is learned, and on after an error."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from policies.learned import Learned
from proxy.folding import Folding
from telemetry.fold import LEARNED_NAME, Folder
from telemetry.ids import new_id
from telemetry.learning_store import load_learned
from telemetry.record import RequestRecord
from tests.support.answered import attempt, record, write
from tests.support.control_pair import until


def answered(count: int) -> list[RequestRecord]:
    return [record(attempt(), id=new_id(), ts_us=1_000_000) for _ in range(count)]


async def folding_for(directory: Path, work: Callable[[Folding], Awaitable[object]]) -> list[bytes]:
    shared: list[bytes] = []
    folding = Folding(directory, keep_s=None, share=shared.append)
    await folding.open()
    task = asyncio.get_running_loop().create_task(folding.run())
    await work(folding)
    task.cancel()
    await asyncio.wait([task])
    await folding.finish(5.0)
    return shared


def test_folds_learns_shares_and_remembers(tmp_path: Path) -> None:
    write(tmp_path, answered(30))

    async def work(folding: Folding) -> None:
        await until(lambda: folding.folded == 30)
        assert await folding.learned_summary()
        await asyncio.sleep(0.7)

    shared = asyncio.run(folding_for(tmp_path, work))
    assert Learned.from_bytes(shared[-1]).version == 30
    kept = load_learned(tmp_path, LEARNED_NAME)
    assert kept is not None
    assert Learned.from_bytes(kept).version == 30


def test_a_restart_forgets_nothing_and_learns_nothing_twice(tmp_path: Path) -> None:
    async def wait_for_all(folding: Folding) -> None:
        await until(lambda: folding.folded == 5)

    write(tmp_path, answered(5))
    asyncio.run(folding_for(tmp_path, wait_for_all))
    write(tmp_path, answered(5))
    asyncio.run(folding_for(tmp_path, wait_for_all))
    kept = load_learned(tmp_path, LEARNED_NAME)
    assert kept is not None
    assert Learned.from_bytes(kept).version == 10


def test_what_was_learned_is_shared_at_the_start(tmp_path: Path) -> None:
    async def wait_a_little(folding: Folding) -> None:
        await asyncio.sleep(0.7)

    assert len(asyncio.run(folding_for(tmp_path, wait_a_little))) == 1


def test_the_rest_is_folded_at_the_end(tmp_path: Path) -> None:
    async def run() -> int:
        folding = Folding(tmp_path, keep_s=None, share=lambda data: None)
        await folding.open()
        await folding.finish(5.0)
        return folding.folded

    write(tmp_path, answered(7))
    assert asyncio.run(run()) == 7
    Folder(tmp_path).close()  # the lock is free again


def test_an_error_is_counted_and_the_fold_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Folder.fold_once
    errors = [sqlite3.OperationalError("disk is full")]

    def fail_once(folder: Folder) -> object:
        if errors:
            raise errors.pop()
        return whole(folder)

    monkeypatch.setattr(Folder, "fold_once", fail_once)
    monkeypatch.setattr("proxy.folding.RETRY_S", 0.01)
    write(tmp_path, answered(3))

    async def work(folding: Folding) -> None:
        await until(lambda: folding.folded == 3)
        assert (folding.failures, "disk is full" in str(folding.last_error)) == (1, True)

    asyncio.run(folding_for(tmp_path, work))


def test_old_days_are_dropped_although_the_fold_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "capture-2001-01-01.db"

    def fail(folder: Folder) -> object:
        raise sqlite3.OperationalError("database or disk is full")

    async def run() -> int:
        folding = Folding(tmp_path, keep_s=86_400.0, share=lambda data: None)
        await folding.open()
        old.touch()
        task = asyncio.get_running_loop().create_task(folding.run())
        await until(lambda: not old.exists())
        task.cancel()
        await asyncio.wait([task])
        await folding.finish(5.0)
        return folding.failures

    monkeypatch.setattr(Folder, "fold_once", fail)
    assert asyncio.run(run()) >= 1


def test_a_store_that_cannot_be_opened_now_is_opened_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = [OSError(28, "no space"), sqlite3.OperationalError("disk is full")]
    whole = Folder.__init__

    def fail_at_first(*words: Any, **named: Any) -> None:
        if errors:
            raise errors.pop()
        whole(*words, **named)

    monkeypatch.setattr(Folder, "__init__", fail_at_first)
    monkeypatch.setattr("proxy.folding.RETRY_S", 0.01)
    write(tmp_path, answered(3))

    async def work(folding: Folding) -> None:
        assert folding.failures == 1
        await until(lambda: folding.folded == 3)

    asyncio.run(folding_for(tmp_path, work))


def test_a_command_that_folds_at_the_start_is_waited_for_without_standing_still(
    tmp_path: Path,
) -> None:
    write(tmp_path, answered(3))
    command = Folder(tmp_path)

    async def work(folding: Folding) -> None:
        await until(lambda: folding.failures > 0)
        assert "held by process" in str(folding.last_error)
        command.close()
        await until(lambda: folding.folded == 3)

    asyncio.run(folding_for(tmp_path, work))
