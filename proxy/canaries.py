"""Canaries in the keeper: which there are, what each has seen, what the operator says.

What a request teaches: on the canary's side of a route, the canary's answers; on the other, those
of the backend it replaces; at the stage `shadow`, the pairs that copies of answered requests make
(shadow.py). Only the first request of a conversation counts, for its later turns are like it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from pointsman.errors import PointsmanError
from policies.canary_run import (
    CanaryRun,
    Step,
    advance,
    begin_run,
    identity_of,
    promote,
    roll_back,
    saw_label,
    saw_new,
    saw_old,
    saw_pair,
    stage_word,
    suggested_edit,
    to_next_stage,
    waits_for,
)
from policies.words import Route
from telemetry.evidence import AnsweredRow, LabelRow, News, answered, is_first_complaint, labels_of

from .configuration import Configuration
from .evidence import (
    VERDICTS,
    feedback_loss,
    first_seen,
    label_loss,
    seen_of,
    shown_loss,
    shown_seen,
    unit_of_row,
)
from .trials_file import Trials

UNITS_MAX: Final = 4096
"""Conversations remembered of a canary; one that comes back after so many others counts anew."""
IN_FILE = "the configuration has it"
BY_COMMAND = "pointsman canary"

WORDS: Final = ("start", "next", "promote", "rollback")
"""What an operator may say."""


class BadCommand(PointsmanError):
    """The canary cannot do that now; the message says why, and what it can."""


def routes_with_canary(configuration: Configuration) -> dict[str, Route]:
    """The routes that have one, by name."""
    return {route.name: route for route in configuration.policy.routes if route.canary is not None}


def follow(configuration: Configuration, trials: Trials, *, now_us: int) -> Trials:
    """With a run for every canary of the configuration and no other. One whose words have
    changed begins anew."""
    runs, units = {}, {}
    for name, route in routes_with_canary(configuration).items():
        identity = _identity(configuration, route)
        run = trials.runs.get(name)
        if run is None or run.identity != identity:
            run = begin_run(route, identity, now_us=now_us, by="keeper", reason=IN_FILE)
        elif name in trials.units:
            units[name] = trials.units[name]
        runs[name] = run
    return msgspec.structs.replace(trials, runs=runs, units=units)


def new_steps(before: Trials, after: Trials) -> Iterator[tuple[CanaryRun, Step]]:
    """What canaries did between two states, in order."""
    for name, run in after.runs.items():
        known = before.runs.get(name)
        seen = set(known.steps) if known is not None else set()
        for step in run.steps:
            if step not in seen:
                yield run, step


# -- what came in --------------------------------------------------------------------------------


def feed(
    directory: Path, news: News, configuration: Configuration, trials: Trials, *, now_us: int
) -> Trials:
    """The canaries after what came in; each step is made as soon as it is due."""
    feeder = _Feeder(directory, configuration, trials, now_us)
    for row in news.answers:
        feeder.answer(row)
    for label in news.labels:
        feeder.label(label)
    for said in news.feedback:
        loss = feedback_loss(said)
        if loss is not None and is_first_complaint(directory, said, VERDICTS):
            feeder.told(answered(directory, said.request_id), loss)
    return feeder.trials()


class _Feeder:
    """Takes one look's news, row by row."""

    def __init__(
        self, directory: Path, configuration: Configuration, trials: Trials, now_us: int
    ) -> None:
        self._directory = directory
        self._routes = routes_with_canary(configuration)
        self._before = trials
        self._now_us = now_us
        self._runs = dict(trials.runs)
        self._units = {name: dict.fromkeys(trials.units.get(name, ())) for name in self._runs}

    def trials(self) -> Trials:
        """The state behind what was taken."""
        units = {name: list(known) for name, known in self._units.items()}
        return msgspec.structs.replace(self._before, runs=self._runs, units=units)

    def answer(self, row: AnsweredRow) -> None:
        """A request of a route with a canary."""
        run = self._open_run(row.route)
        if run is None or run.stages[run.stage] == "shadow":
            return
        side = _side(run, row)
        if side is None or not self._is_first(row):
            return
        seen = seen_of(row, self._routes[row.route])
        if side == "old":
            self._runs[row.route] = saw_old(run, seen)
        elif row.ts_us >= run.since_us:
            self._moved(saw_new(run, seen))

    def label(self, label: LabelRow) -> None:
        """A label of an answer, or a canary's answer to a copy."""
        if not self._runs:
            return
        row = answered(self._directory, label.request_id)
        run = self._open_run(row.route) if row is not None else None
        if row is None or run is None or row.ts_us < run.started_us:
            return
        if label.source == "canary":
            self._shown(run, row, label)
        elif run.stages[run.stage] == "shadow":
            for shown in labels_of(self._directory, row.id):
                if shown.rowid < label.rowid and _is_by(run, shown):
                    self._compare(row, shown, label)
        else:
            self.told(row, label_loss(self._directory, label))

    def told(self, row: AnsweredRow | None, loss: float | None) -> None:
        """Somebody says how wrong the answer of a request is."""
        run = self._open_run(row.route) if row is not None else None
        if row is None or run is None or loss is None:
            return
        side = _side(run, row)
        if side is not None:
            new, old = (loss, None) if side == "new" else (None, loss)
            self._moved(saw_label(run, new=new, old=old))

    def _shown(self, run: CanaryRun, row: AnsweredRow, shown: LabelRow) -> None:
        """A canary has answered a copy of what the backend it is to replace has answered."""
        is_of_run = _is_by(run, shown) and row.ts_us >= run.since_us
        if not is_of_run or row.decided != run.replaces or not self._is_first(row):
            return
        route = self._routes[row.route]
        self._moved(saw_pair(run, shown_seen(shown, route), first_seen(row, route)))
        for label in labels_of(self._directory, row.id):
            if label.rowid < shown.rowid and label.source != "canary":
                self._compare(row, shown, label)

    def _compare(self, row: AnsweredRow, shown: LabelRow, label: LabelRow) -> None:
        """A label of a request that both have answered, once the later of the two has come."""
        run = self._open_run(row.route)
        if run is None or row.decided != run.replaces or row.backend != run.replaces:
            return
        new, old = shown_loss(shown, label), label_loss(self._directory, label)
        if new is not None and old is not None:
            self._moved(saw_label(run, new=new, old=old))

    def _open_run(self, route: str) -> CanaryRun | None:
        run = self._runs.get(route)
        return run if run is not None and run.status in ("running", "held") else None

    def _is_first(self, row: AnsweredRow) -> bool:
        units, unit = self._units[row.route], unit_of_row(row)
        if unit in units:
            return False
        units[unit] = None
        if len(units) > UNITS_MAX:
            del units[next(iter(units))]
        return True

    def _moved(self, run: CanaryRun) -> None:
        canary = self._routes[run.route].canary
        assert canary is not None  # the route is one that has one
        self._runs[run.route] = advance(run, canary, now_us=self._now_us)


def _is_by(run: CanaryRun, label: LabelRow) -> bool:
    return label.source == "canary" and label.backend == run.backend


def _side(run: CanaryRun, row: AnsweredRow) -> str | None:
    """Whose first attempt a request had."""
    if row.canary == run.backend:
        return "new" if row.decided == run.backend else None
    is_old = row.canary is None and row.decided == run.replaces
    return "old" if is_old and row.ts_us >= run.started_us else None


# -- what the operator says ----------------------------------------------------------------------


def command(
    configuration: Configuration,
    trials: Trials,
    route: str,
    word: str,
    *,
    now_us: int,
    reason: str = "",
) -> Trials:
    """The state after `start`, `promote`, `next` or `rollback`. Raises BadCommand."""
    found = routes_with_canary(configuration).get(route)
    run = trials.runs.get(route)
    if found is None or run is None:
        known = ", ".join(routes_with_canary(configuration)) or "no route has one"
        raise BadCommand(f"route {route!r} has no canary in the configuration ({known})")
    why = reason or f"{BY_COMMAND} {word}"
    if word == "start":
        changed = _start(configuration, found, run, now_us, why)
    elif run.status == "rolled_back":
        raise BadCommand(f"the canary of {route!r} was rolled back; `canary start` begins anew")
    elif word == "rollback":
        changed = roll_back(run, now_us=now_us, by="operator", reason=why)
    elif run.status == "promoted":
        raise BadCommand(f"the canary of {route!r} is promoted already")
    elif word == "promote":
        changed = promote(run, now_us=now_us, by="operator", reason=why)
    else:
        changed = _next(run, now_us, why)
    units = trials.units
    if word == "start" and changed is not run:
        units = {name: known for name, known in units.items() if name != route}
    return msgspec.structs.replace(trials, runs={**trials.runs, route: changed}, units=units)


def _start(
    configuration: Configuration, route: Route, run: CanaryRun, now_us: int, why: str
) -> CanaryRun:
    """Anew from the first stage; one that is under way stays where it is."""
    if run.status in ("running", "held"):
        return run
    if run.status == "promoted":
        raise BadCommand(f"the canary of {route.name!r} is promoted; `canary rollback` first")
    identity = _identity(configuration, route)
    return begin_run(route, identity, now_us=now_us, by="operator", reason=why)


def _next(run: CanaryRun, now_us: int, why: str) -> CanaryRun:
    if run.stage + 1 >= len(run.stages):
        raise BadCommand(f"the canary of {run.route!r} is at its last stage; `canary promote`")
    return to_next_stage(run, now_us=now_us, by="operator", reason=why)


def _identity(configuration: Configuration, route: Route) -> str:
    canary = route.canary
    assert canary is not None  # the route is one that has one
    facts = configuration.policy.backends
    return identity_of(route, facts[canary.backend], facts[canary.replaces])


# -- how they stand ------------------------------------------------------------------------------


def describe(route: Route, run: CanaryRun) -> dict[str, object]:
    """One canary as JSON data: for `/state`, `/canary` and the command."""
    canary = route.canary
    assert canary is not None  # the route is one that has one
    is_open = run.status in ("running", "held")
    stage = run.stages[run.stage]
    share = 1.0 if run.status == "promoted" else 0.0
    if is_open and not isinstance(stage, str):
        share = stage
    return {
        "route": run.route,
        "backend": run.backend,
        "replaces": run.replaces,
        "status": run.status,
        "stage": stage_word(run),
        "share": share,
        "since_us": run.since_us,
        "samples": run.samples,
        "min_samples": canary.min_samples,
        "waits_for": waits_for(run, canary) if run.status == "running" else [],
        "matters": [
            {
                "name": one.name,
                "limit": one.limit,
                "observed": one.mean,
                "count": one.count,
                "log_e_kept": round(one.kept.log_capital, 3),
                "log_e_broken": round(one.broken.log_capital, 3),
            }
            for one in run.trial.matters
        ],
        "steps": [msgspec.to_builtins(step) for step in run.steps],
        "suggested_edit": suggested_edit(route, run) if run.status == "promoted" else None,
    }
