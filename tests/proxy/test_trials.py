"""The keeper's looks: told first, kept then, and what the operator says meanwhile wins."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from policies.canary_run import Arm
from proxy import trials
from proxy.alarms import Alarming, Alarms
from proxy.canaries import BadCommand
from proxy.configuration import Configuration
from proxy.control import CanaryArms, Suspended
from proxy.trials import KEEPER, TrialKeeper
from proxy.trials_file import FILE_NAME, read_trials
from telemetry.record import EventRecord
from tests.support.control_pair import until
from tests.support.trial_rows import configured, fold_in, row

HALF = configured("50%, 100%")


class Kept:
    """A keeper's trials, and what they told whom."""

    def __init__(self, directory: Path, configuration: Configuration) -> None:
        self.orders: list[CanaryArms | Suspended] = []
        self.events: list[EventRecord] = []
        self.alarms = Alarms(Alarming)
        self.trials = TrialKeeper(
            directory,
            configuration,
            order=self.orders.append,
            alarms=self.alarms,
            note=self._note,
        )

    async def _note(self, event: EventRecord) -> None:
        self.events.append(event)

    @property
    def arms(self) -> dict[str, Arm]:
        """As last told."""
        return [one for one in self.orders if isinstance(one, CanaryArms)][-1].arms


@asynccontextmanager
async def keeping(
    directory: Path, configuration: Configuration = HALF, *, runs: bool = True
) -> AsyncIterator[Kept]:
    kept = Kept(directory, configuration)
    await kept.trials.open()
    task = asyncio.ensure_future(kept.trials.run()) if runs else None
    yield kept
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
    await kept.trials.finish()


def bad_pairs(count: int = 40) -> list:  # type: ignore[type-arg]
    pairs = [(row(), row(decided="new", canary="new", confidence=0.0)) for _ in range(count)]
    return [one for pair in pairs for one in pair]


async def test_a_start_tells_everything_and_begins_canaries(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        assert kept.arms == {"extract": Arm("new", "old", 0.5)}
        assert Suspended({}) in kept.orders
        await until((tmp_path / FILE_NAME).exists)
        await until(lambda: kept.events)
        assert [(one.name, one.worker) for one in kept.events] == [("canary_started", KEEPER)]


async def test_a_bad_canary_is_told_back_at_once_and_kept(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        await asyncio.to_thread(fold_in, tmp_path, bad_pairs())
        await until(lambda: kept.arms == {})
        await until(lambda: [one.name for one in kept.events][-1:] == ["canary_rolled_back"])
        assert [one.alarm for one in kept.alarms.state()] == ["canary_rolled_back"]
        counters = kept.trials.counters()
        steps = (("route", "extract"), ("step", "rolled_back"))
        assert counters["pointsman_canary_steps_total", steps] == 1.0
    kept_state = read_trials(tmp_path)
    assert kept_state is not None
    assert kept_state.runs["extract"].status == "rolled_back"
    async with keeping(tmp_path) as again:
        assert again.arms == {}
        assert again.events == []
        assert again.alarms.state() == []


async def test_what_was_answered_before_the_first_look_is_left_out(tmp_path: Path) -> None:
    await asyncio.to_thread(fold_in, tmp_path, bad_pairs())
    async with keeping(tmp_path, runs=False) as kept:
        await kept.trials._look()
        assert kept.trials.state()[0]["samples"] == 0


async def test_what_comes_while_nothing_is_tested_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = configured(
        text="backends: {a: {adapter: simulated}}\nroutes: {default: {candidates: a}}"
    )
    async with keeping(tmp_path, plain, runs=False) as kept:
        await kept.trials._look()
        await asyncio.to_thread(fold_in, tmp_path, bad_pairs(5))
        kept.trials.follow(HALF)
        read: list[int] = []
        real = trials.news_since

        def counted(*words: Any) -> Any:
            news = real(*words)
            read.append(len(news.answers))
            return news

        monkeypatch.setattr(trials, "news_since", counted)
        await kept.trials._look()
        assert read == [0]


async def test_the_operator_wins_over_a_look_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeping(tmp_path, runs=False) as kept:
        await asyncio.to_thread(fold_in, tmp_path, bad_pairs(3))
        look = asyncio.ensure_future(kept.trials._look())
        await asyncio.sleep(0)
        await kept.trials.command("extract", "promote")
        assert await look is True  # to be made again
        assert kept.arms == {"extract": Arm("new", "old", 1.0)}
        await kept.trials._look()
        assert kept.trials.state()[0]["status"] == "promoted"


async def test_commands_are_kept_before_they_are_answered(tmp_path: Path) -> None:
    async with keeping(tmp_path, runs=False) as kept:
        answer = await kept.trials.command("extract", "rollback", "no good")
        assert answer["status"] == "rolled_back"
        state = read_trials(tmp_path)
        assert state is not None
        assert state.runs["extract"].steps[-1].reason == "no good"
        assert kept.alarms.state() == []  # who says so need not be told
        with pytest.raises(BadCommand):
            await kept.trials.command("extract", "rollback")


async def test_a_reload_begins_what_is_new_and_forgets_what_is_gone(tmp_path: Path) -> None:
    async with keeping(tmp_path, runs=False) as kept:
        kept.trials.follow(configured("shadow, 20%"))
        assert kept.arms == {"extract": Arm("new", "old", 0.0, is_shadow=True)}


async def test_a_store_that_cannot_be_read_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trials, "RETRY_S", 0.01)
    broken = [OSError("gone")]
    real = trials.news_since

    def once(*words: object) -> object:
        if broken:
            raise broken.pop()
        return real(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(trials, "news_since", once)
    async with keeping(tmp_path) as kept:
        await asyncio.to_thread(fold_in, tmp_path, bad_pairs())
        await until(lambda: kept.arms == {})
        assert kept.trials.counters()["pointsman_trials_failures_total", ()] == 1.0
    assert "trials_failed" in capsys.readouterr().err


async def test_looks_cost_nothing_where_there_is_nothing_to_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = configured(
        text="backends: {a: {adapter: simulated}}\nroutes: {default: {candidates: a}}"
    )
    async with keeping(tmp_path, plain, runs=False) as kept:
        monkeypatch.setattr(trials, "news_since", lambda *words: pytest.fail("looked"))
        assert await kept.trials._look() is False
        assert kept.trials.state() == []
        assert kept.trials.promises_state() == {}
