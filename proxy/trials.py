"""The keeper's look at what was folded: canaries and promises are tested, the workers are told.

    every LOOK_S   rows since the last look -> tests -> steps -> told to the workers -> kept

A step is told first and kept then: should the keeper die in between, the next one reads the same
rows and comes to the same. The tests run beside the loop on frozen state; what the operator or a
reload changed meanwhile wins, and the look is made again.
"""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from policies.canary_run import CanaryRun, Step, suggested_edit
from telemetry.evidence import cursor_now, news_since
from telemetry.logs import log
from telemetry.metrics import Counters
from telemetry.record import EventRecord

from . import canaries, promises
from .alarms import Alarms
from .configuration import Configuration
from .control import CanaryArms, Suspended
from .trials_file import (
    Trials,
    arms_of,
    read_trials,
    suspended_in,
    write_trials,
)

LOOK_S: Final = 0.2
SAVE_S: Final = 1.0
"""Evidence that led to no step is kept so often: writing waits for the disk."""
RETRY_S: Final = 1.0
KEEPER: Final = -1
"""The keeper's place in the column `worker` of events."""

Order = Callable[[CanaryArms | Suspended], None]
Note = Callable[[EventRecord], Awaitable[None]]


class TrialKeeper:
    """`order` tells the workers, `note` writes an event into the store."""

    def __init__(
        self,
        directory: Path,
        configuration: Configuration,
        *,
        order: Order,
        alarms: Alarms,
        note: Note,
    ) -> None:
        self.trials = Trials()
        self._directory = directory
        self._configuration = configuration
        self._order = order
        self._alarms = alarms
        self._note = note
        self._events: list[EventRecord] = []
        self._told: tuple[CanaryArms | Suspended, ...] = ()
        self._kept: Trials | None = None
        self._save_due_s = 0.0
        self._steps: Counter[tuple[str, str]] = Counter()
        self._failures = 0
        self._saving = asyncio.Lock()
        self._was_idle = False

    async def open(self) -> None:
        """Go on from what is kept; where nothing is, from what happens from now on."""
        kept = await asyncio.to_thread(read_trials, self._directory)
        if kept is None:
            kept = Trials(cursor=await asyncio.to_thread(cursor_now, self._directory))
        self._kept = kept
        self._change(kept, is_start=True)
        self.follow(self._configuration)

    def follow(self, configuration: Configuration) -> None:
        """Take up a configuration: what it has no word of any more is forgotten."""
        self._configuration = configuration
        now_us = _now_us()
        trials = canaries.follow(configuration, self.trials, now_us=now_us)
        self._change(promises.follow(configuration, trials, now_us=now_us))

    async def run(self) -> None:
        """Look, for ever. What cannot be read or written is logged and tried again."""
        while True:
            pause_s = LOOK_S
            try:
                if await self._look():
                    pause_s = 0.0
                await self._save_if_due()
            except (sqlite3.Error, OSError) as error:
                self._failures += 1
                log("trials_failed", level="error", error=f"{type(error).__name__}: {error}")
                pause_s = RETRY_S
            await asyncio.sleep(pause_s)

    async def command(self, route: str, word: str, reason: str = "") -> dict[str, object]:
        """What the operator says; returns how the canary stands then. Raises BadCommand."""
        trials = canaries.command(
            self._configuration, self.trials, route, word, now_us=_now_us(), reason=reason
        )
        self._change(trials)
        await self._save()
        return next(one for one in self.state() if one["route"] == route)

    def state(self) -> list[dict[str, object]]:
        """Every canary, for `/state` and `/canary`."""
        routes = canaries.routes_with_canary(self._configuration)
        return [
            canaries.describe(routes[name], run)
            for name, run in self.trials.runs.items()
            if name in routes
        ]

    def promises_state(self) -> dict[str, object]:
        """Every promise, for `/state`."""
        return promises.describe(self._configuration, self.trials)

    def counters(self) -> Counters:
        """For `/metrics`."""
        found: Counters = {("pointsman_trials_failures_total", ()): float(self._failures)}
        for one in self.state():
            labels = (("backend", str(one["backend"])), ("route", str(one["route"])))
            found["pointsman_canary_share", labels] = float(str(one["share"]))
            found["pointsman_canary_samples", labels] = float(str(one["samples"]))
        for (route, step), count in self._steps.items():
            told = (("route", route), ("step", step))
            found["pointsman_canary_steps_total", told] = float(count)
        broken = suspended_in(self._configuration.lock, self.trials.refuted)
        for route in self._configuration.lock.routes:
            found["pointsman_promise_refuted", (("route", route),)] = float(route in broken)
        return found

    async def finish(self) -> None:
        """Keep what came last."""
        try:
            await self._save()
        except OSError as error:
            log("trials_failed", level="error", error=f"{type(error).__name__}: {error}")

    # -- inside -------------------------------------------------------------------------------

    async def _look(self) -> bool:
        """One look; whether to look again at once."""
        before, configuration = self.trials, self._configuration
        if not before.runs and not before.watches:
            self._was_idle = True
            return False
        if self._was_idle:  # what came while nothing was tested is of no use
            cursor = await asyncio.to_thread(cursor_now, self._directory)
            before = self.trials = msgspec.structs.replace(self.trials, cursor=cursor)
            self._was_idle = False
        after, has_more = await asyncio.to_thread(self._tested, before, configuration)
        if self.trials is not before:
            return True  # the operator or a reload was faster
        after, broken = promises.refute(after)
        if broken:
            after = promises.follow(configuration, after, now_us=_now_us())
        self._change(after)
        for route, reason in broken.items():
            self._alarms.give("promise_broken", route, reason)
            self._record("promise_broken", f"{route}: {reason}")
        return has_more

    def _tested(self, trials: Trials, configuration: Configuration) -> tuple[Trials, bool]:
        """Beside the loop: the state after what is new, and whether there is more."""
        routes = {*trials.runs, *trials.watches}
        news = news_since(self._directory, trials.cursor, routes)
        if news.cursor == trials.cursor:
            return trials, False
        after = canaries.feed(self._directory, news, configuration, trials, now_us=_now_us())
        return promises.feed(self._directory, news, after), news.has_more

    def _change(self, after: Trials, *, is_start: bool = False) -> None:
        """The new state: told at once, its steps noted."""
        before, self.trials = self.trials, after
        told: tuple[CanaryArms | Suspended, ...] = (
            CanaryArms(arms_of(after)),
            Suspended(after.refuted),
        )
        for index, message in enumerate(told):
            if not self._told or self._told[index] != message:
                self._order(message)
        self._told = told
        for run, step in () if is_start else canaries.new_steps(before, after):
            self._step(run, step)

    def _step(self, run: CanaryRun, step: Step) -> None:
        words = f"{run.route}: {run.backend} for {run.replaces}, {step.stage}: {step.reason}"
        log("canary", step=step.what, route=run.route, backend=run.backend, stage=step.stage,
            by=step.by, reason=step.reason)  # fmt: skip
        self._steps[run.route, step.what] += 1
        self._record(f"canary_{step.what}", words)
        route = canaries.routes_with_canary(self._configuration).get(run.route)
        if step.what == "promoted" and route is not None:
            log("canary_edit", route=run.route, edit=suggested_edit(route, run))
        if step.what == "rolled_back" and step.by == "keeper":
            self._alarms.give("canary_rolled_back", run.route, f"{run.backend}: {step.reason}")

    def _record(self, name: str, text: str) -> None:
        self._save_due_s = 0.0
        self._events.append(EventRecord(ts_us=_now_us(), name=name, worker=KEEPER, text=text))

    async def _save_if_due(self) -> None:
        if self.trials is not self._kept and time.monotonic() >= self._save_due_s:
            await self._save()

    async def _save(self) -> None:
        """One at a time: an older state must not come to lie over a newer one."""
        async with self._saving:
            trials, events = self.trials, self._events
            self._events = []
            if trials is not self._kept:
                await asyncio.to_thread(write_trials, self._directory, trials)
                self._kept = trials
                self._save_due_s = time.monotonic() + SAVE_S
            for event in events:
                await self._note(event)


def _now_us() -> int:
    return time.time_ns() // 1000
