"""Reload: everything or nothing, and which changes need a restart."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pointsman.errors import ConfigError
from proxy.active import Active, build_active, read_active
from proxy.keys import create_key
from proxy.locked import lock_path
from proxy.reloading import POLL_S, Current, Reloader, build_current, keys_text_of, signature
from tests.proxy.test_keys import NOW
from tests.proxy.test_locked import PROMISING, prove
from tests.support.control_pair import until
from tests.support.simple_config import SIMPLE, write_config

CHANGED = SIMPLE.replace("candidates: [quick]", "candidates: [other]")


class Bench:
    """A reloader over a real file, with what it told the workers."""

    def __init__(self, directory: Path, text: str = SIMPLE) -> None:
        self.path = write_config(directory, text)
        (directory / "data").mkdir()
        current = build_current(Active(0, str(self.path), text), {})
        active = Active(0, str(self.path), text, keys_text_of(current.configuration))
        self.spread: list[int] = []
        self.failures: list[list[str]] = []
        self.changes: list[tuple[Current, Current]] = []
        self.reloader = Reloader(
            build_current(active, {}),
            spread=self._spread,
            on_change=lambda old, new: self.changes.append((old, new)),
            environment={},
        )

    async def _spread(self, generation: int) -> list[str]:
        self.spread.append(generation)
        return self.failures.pop(0) if self.failures else []

    @property
    def candidates(self) -> tuple[str, ...]:
        return self.reloader.current.configuration.policy.default.candidates


async def test_a_good_file_is_kept_and_spread(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.path.write_text(CHANGED)
    fresh = await bench.reloader.reload("test")
    assert (bench.spread, fresh.generation, bench.candidates) == ([1], 1, ("other",))
    assert read_active(tmp_path / "data").text == CHANGED
    assert len(bench.changes) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("default:", "defualt:"), "default"),
        (lambda text: text.replace("[quick]", "[quikc]"), "did you mean 'quick'"),
        (lambda text: text + "routes: {}\n", "given twice"),
        (lambda text: "", "empty"),
        (lambda text: text.replace("listen: 127.0.0.1:0", "listen: 127.0.0.1:7"), "needs restart"),
        (lambda text: text.replace("admin: 127.0.0.1:0", "admin: 127.0.0.1:7"), "needs restart"),
        (lambda text: text + "capture: {directory: elsewhere}\n", "needs restart"),
        (lambda text: text + "capture: {durability: power}\n", "needs restart"),
        (
            lambda text: text.replace(
                "{candidates: [quick]}",
                "{candidates: [quick], probes: [{prompt: hi, expect: {backend: other}}]}",
            ),
            "probe failed: expected other, got quick",
        ),
    ],
)
async def test_a_bad_file_changes_nothing_and_says_where(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    bench = Bench(tmp_path)
    before = bench.reloader.current
    bench.path.write_text(change(SIMPLE))
    with pytest.raises(ConfigError, match=message) as caught:
        await bench.reloader.reload("test")
    assert all(problem.line >= 1 for problem in caught.value.problems)
    assert bench.reloader.current is before
    assert bench.spread == []
    assert not (tmp_path / "data" / "active.json").exists()
    assert bench.reloader.last_problems
    bench.path.write_text(SIMPLE)
    await bench.reloader.reload("test")
    assert bench.reloader.last_problems == ()


async def test_what_needs_a_restart_is_told_at_its_line(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.path.write_text(SIMPLE.replace("admin: 127.0.0.1:0", "admin: 127.0.0.1:7"))
    with pytest.raises(ConfigError) as caught:
        await bench.reloader.reload("test")
    assert [problem.line for problem in caught.value.problems] == [2]


async def test_when_one_worker_cannot_swap_all_go_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.failures = [["worker 1: OSError: no CA file"]]
    bench.path.write_text(CHANGED)
    with pytest.raises(ConfigError, match="worker 1") as caught:
        await bench.reloader.reload("test")
    assert len(caught.value.problems) == 1
    assert (bench.spread, bench.candidates) == ([1, 2], ("quick",))
    active = read_active(tmp_path / "data")
    assert (active.generation, active.text) == (2, SIMPLE)
    await bench.reloader.reload("test")
    assert (bench.spread[-1], bench.candidates) == (3, ("other",))


async def test_a_worker_that_cannot_go_back_either_is_reported(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.failures = [["worker 1 did not answer"], ["worker 1 did not answer"]]
    with pytest.raises(ConfigError, match="going back: worker 1"):
        await bench.reloader.reload("test")


async def test_a_saved_file_is_noticed_also_when_saved_by_rename(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    watch = asyncio.get_running_loop().create_task(bench.reloader.watch())
    await asyncio.sleep(0.1)
    aside = tmp_path / "aside"
    aside.write_text(CHANGED)
    stamp = bench.path.stat()
    os.utime(aside, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    aside.replace(bench.path)
    await until(lambda: bench.spread == [1])
    bench.path.write_text(SIMPLE)
    await until(lambda: bench.spread == [1, 2])
    watch.cancel()


async def test_a_bad_save_is_refused_once_not_at_every_look(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    watch = asyncio.get_running_loop().create_task(bench.reloader.watch())
    await asyncio.sleep(0.1)
    bench.path.write_text("nonsense")
    await until(lambda: bench.reloader.refusals == 1)
    await asyncio.sleep(POLL_S * 2.2)
    assert (bench.reloader.refusals, bench.candidates) == (1, ("quick",))
    watch.cancel()


async def test_what_changed_while_no_keeper_was_there_is_taken_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.path.write_text(CHANGED)
    watch = asyncio.get_running_loop().create_task(bench.reloader.watch())
    await until(lambda: bench.candidates == ("other",))
    watch.cancel()


async def test_a_new_key_is_noticed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, SIMPLE + "keys: {file: keys.yaml}\n")
    watch = asyncio.get_running_loop().create_task(bench.reloader.watch())
    await asyncio.sleep(0.1)
    assert bench.spread == []
    _, secret = create_key(tmp_path / "keys.yaml", caller="app", now=NOW)
    await until(lambda: bench.spread)
    keys = bench.reloader.current.keys
    assert keys is not None
    assert keys.caller_of(secret.encode()) == "app"
    watch.cancel()


async def test_keys_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, SIMPLE + "keys: {file: keys.yaml}\n")
    create_key(tmp_path / "keys.yaml", caller="app", now=NOW)
    (tmp_path / "keys.pepper").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        await bench.reloader.reload("test")


def test_a_missing_file_has_a_signature_of_its_own(tmp_path: Path) -> None:
    assert signature(tmp_path / "none") is None


async def test_a_lock_that_is_written_beside_the_file_is_taken_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PROMISING)
    watch = asyncio.get_running_loop().create_task(bench.reloader.watch())
    await asyncio.sleep(0.1)
    assert bench.spread == []
    prove(bench.path)
    await until(lambda: bench.spread == [1])
    assert set(bench.reloader.current.configuration.promises.certified) == {"default"}
    kept, _ = build_active(read_active(tmp_path / "data"), environment={})
    assert set(kept.promises.certified) == {"default"}
    lock_path(bench.path).unlink()
    await until(lambda: bench.spread == [1, 2])
    assert bench.reloader.current.configuration.promises.certified == {}
    watch.cancel()
