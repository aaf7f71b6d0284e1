"""How all backends stand, as one worker sees them: what the policies are told of it.

    a call ends      -> verdict.py -> the backend's Health -> news to the keeper, to the others
    a call begins    -> the retry budget; the one request that tries a backend again
    time passes      -> a pause ends, a probe is asked for

Nothing here is asked by a request that goes well but two counters. `unavailable` is replaced when
something changes and never written to. Between a pause and its end stands the probe: the keeper
grants it to one worker at a time; where the keeper does not answer, a worker acts alone.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from time import gmtime, monotonic, strftime, time
from typing import Final

from adapters.backend import Backend
from adapters.health import Health
from adapters.retry_budget import RetryBudget
from adapters.standing import Standing
from policies.step import ALL_WELL, Upstream
from telemetry.logs import log
from telemetry.metrics import Counters

from .attempt import Attempt
from .control import ProbeAnswer, ProbeWanted
from .verdict import verdict_of

CHECK_EVERY_S: Final = 0.25
"""While a backend is half-open: ask for the probe, see how it does."""
USE_S: Final = 0.9
"""How long a worker waits for a request to try with; less than the keeper's GRANT_S."""
REST_S: Final = 0.5
"""Then another worker may have one."""
ALONE_AFTER_S: Final = 1.0
"""A keeper that has not answered by then is taken to be away."""

Tell = Callable[[Standing | ProbeWanted], bool]
OnChange = Callable[[Mapping[str, str]], None]

WORDS: Final = {
    "failing": "breaker open",
    "rate_limited": "rate limited",
    "no_quota": "no quota",
    "credential_refused": "it refuses our credential",
    "loading": "loading",
    "half_open": "breaker half-open",
}


class _Probe:
    """What is done about one half-open backend."""

    __slots__ = ("ask_s", "attempt", "owed_since_s", "usable_until_s")

    def __init__(self) -> None:
        self.attempt: Attempt | None = None
        """The request that tries it."""
        self.usable_until_s = 0.0
        self.ask_s = 0.0
        self.owed_since_s: float | None = None
        """Since when the keeper has not answered."""

    def is_usable(self, now_s: float) -> bool:
        """Whether the next request may be the one."""
        return self.attempt is None and now_s < self.usable_until_s

    def grant(self, now_s: float) -> None:
        """Let the next request try, if one comes soon."""
        self.owed_since_s = None
        if self.attempt is None and not self.is_usable(now_s):
            self.usable_until_s = now_s + USE_S
            self.ask_s = self.usable_until_s + REST_S


class Watch:
    """All backends of one worker. `on_change` is given the new `unavailable`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, worker: int, on_change: OnChange
    ) -> None:
        self._loop = loop
        self._worker = worker
        self._on_change = on_change
        self._tell: Tell = lambda news: False
        self._health: dict[str, Health] = {}
        self._backends: Mapping[str, Backend] = {}
        self._probes: dict[str, _Probe] = {}
        self._found_here: set[str] = set()
        """Whose standing this worker found out: it says so, the others do as it says."""
        self._timer: asyncio.TimerHandle | None = None
        self._transitions: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._probed: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._workers = 1
        self.budget = RetryBudget()
        self.unavailable: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"<Watch unavailable={sorted(self.unavailable)}>"

    # -- what the worker process uses ---------------------------------------------------------

    def follow(self, backends: Mapping[str, Backend], *, workers: int) -> None:
        """Watch these; one that is declared differently than before is a new one."""
        self._health = {
            name: self._health[name] if self._backends.get(name) == backend else Health(name)
            for name, backend in backends.items()
        }
        if workers != self._workers:
            self._workers = workers
            self.budget = RetryBudget(workers=workers)
        self._backends = backends
        self._refresh()

    def through(self, tell: Tell) -> None:
        """Speak to the keeper by `tell` (False where it is away)."""
        self._tell = tell

    def hear(self, news: Standing | ProbeAnswer) -> None:
        """What another worker found out, or whether a backend may be tried."""
        if isinstance(news, Standing):
            health = self._health.get(news.backend)
            if health is not None and health.adopt(news):
                self._found_here.discard(news.backend)
                self._refresh()
            return
        probe = self._probes.get(news.backend)
        if probe is not None:
            probe.owed_since_s = None
            if news.is_granted:
                probe.grant(monotonic())
                self._refresh()

    def standings(self) -> list[Standing]:
        """What is held against backends now."""
        found = [health.standing for health in self._health.values()]
        return [standing for standing in found if standing.state not in ("ready", "half_open")]

    def close(self) -> None:
        """Let no more time pass."""
        if self._timer is not None:
            self._timer.cancel()

    # -- what exchanges use -------------------------------------------------------------------

    def upstream(self, *, has_failed: bool) -> Upstream:
        """How the backends stand, for the policies to say what is next."""
        unaffordable: frozenset[str] = frozenset()
        if has_failed and not self.budget.has_room(monotonic()):
            unaffordable = frozenset(
                name for name, health in self._health.items() if health.is_failing
            )
        if not self.unavailable and not unaffordable:
            return ALL_WELL
        return Upstream(self.unavailable, unaffordable)

    def may_send(self, backend: str) -> bool:
        """Whether a retry that has waited for its moment can still be paid for."""
        health = self._health.get(backend)
        return health is None or not health.is_failing or self.budget.has_room(monotonic())

    def asked(self, attempt: Attempt) -> None:
        """A call is about to be sent."""
        kind = attempt.kind
        if kind == "primary":
            self.budget.request_sent(attempt.started_s)
        elif kind in ("retry", "fallback"):
            health = self._health.get(attempt.backend.name)
            if health is not None and health.is_failing:
                self._charge(attempt)
        if self._probes:
            self._maybe_probe(attempt)

    def attempt_ended(self, attempt: Attempt) -> None:
        """A call is over: what does that say about its backend?"""
        health = self._health.get(attempt.backend.name)
        if health is None:
            return  # a reload took it away
        probe = self._probes.get(attempt.backend.name) if self._probes else None
        is_probe = probe is not None and probe.attempt is attempt
        if attempt.failure is None:
            changed = health.succeeded(
                attempt.ended_s, begun_s=attempt.started_s, is_probe=is_probe
            )
        else:
            changed = self._failed(attempt, health, is_probe=is_probe)
        if is_probe and probe is not None:
            probe.attempt = None
            is_answered = attempt.failure is None
            self._count_probe(health, is_answered=is_answered, changed=changed)
        if changed:
            self._changed(health)

    # -- what operators see -------------------------------------------------------------------

    def state_of(self, name: str) -> dict[str, object]:
        """One backend as JSON data."""
        health = self._health.get(name)
        if health is None:
            return {}
        standing = health.standing
        probes = {what: count for (one, what), count in self._probed.items() if one == name}
        return {
            "state": standing.state,
            "reason": standing.reason or None,
            "since": moment(standing.since_s) if standing.since_s else None,
            "until": moment(standing.until_s) if standing.until_s else None,
            "probes": probes,
        }

    def counters(self) -> Counters:
        """Transitions that happened here, probes, and what may be asked now."""
        found: Counters = {("pointsman_retry_budget_refused_total", ()): float(self.budget.refused)}
        for name in self._health:
            is_there = name not in self.unavailable
            found["pointsman_backend_available", (("backend", name),)] = float(is_there)
        for (name, state), count in self._transitions.items():
            labels = (("backend", name), ("state", state))
            found["pointsman_backend_transitions_total", labels] = count
        for (name, outcome), count in self._probed.items():
            labels = (("backend", name), ("outcome", outcome))
            found["pointsman_backend_probes_total", labels] = count
        return found

    # -- inside: calls ------------------------------------------------------------------------

    def _failed(self, attempt: Attempt, health: Health, *, is_probe: bool) -> bool:
        verdict = verdict_of(attempt)
        if verdict.word == "well" or verdict.word == "nothing":
            return False
        if verdict.word != "failing":
            return health.paused(verdict.word, attempt.ended_s, verdict.span_s, verdict.reason)
        if attempt.kind in ("retry", "fallback") and not attempt.is_charged:
            self._charge(attempt)
        return health.failed(
            attempt.ended_s,
            verdict.reason,
            begun_s=attempt.started_s,
            chance=random.random(),
            is_probe=is_probe,
        )

    def _charge(self, attempt: Attempt) -> None:
        attempt.is_charged = True
        self.budget.retry_sent(attempt.started_s)

    # -- inside: probes -----------------------------------------------------------------------

    def _maybe_probe(self, attempt: Attempt) -> None:
        """The first call to a backend whose probe is ours is the probe."""
        probe = self._probes.get(attempt.backend.name)
        if probe is not None and probe.is_usable(attempt.started_s):
            probe.attempt = attempt
            self._refresh()

    def _count_probe(self, health: Health, *, is_answered: bool, changed: bool) -> None:
        outcome = "answered" if is_answered else "failed" if changed else "undecided"
        self._probed[health.standing.backend, outcome] += 1

    def _look_after(self, name: str, probe: _Probe, now_s: float) -> None:
        attempt = probe.attempt
        if attempt is not None and attempt.is_ended:
            probe.attempt = None
        elif attempt is not None and attempt.has_streamed:
            self._began_well(attempt)
            return
        if now_s < probe.ask_s or probe.is_usable(now_s):
            return
        probe.ask_s = now_s + CHECK_EVERY_S
        is_owed = probe.owed_since_s is not None
        if is_owed and now_s - (probe.owed_since_s or 0.0) < ALONE_AFTER_S:
            return
        if is_owed or self._workers == 1 or not self._tell(ProbeWanted(name)):
            probe.grant(now_s)
        else:
            probe.owed_since_s = now_s

    def _began_well(self, attempt: Attempt) -> None:
        """A probe that streams is an answer; its end may be minutes away."""
        health = self._health[attempt.backend.name]
        self._count_probe(health, is_answered=True, changed=True)
        health.succeeded(attempt.last_byte_s, begun_s=attempt.started_s, is_probe=True)
        self._changed(health)

    # -- inside: changes and time -------------------------------------------------------------

    def _changed(self, health: Health) -> None:
        """A change that was found out here: said once, in the log and to the others."""
        self._found_here.add(health.standing.backend)
        self._note(health.standing)
        self._tell(health.standing)
        self._refresh()

    def _note(self, standing: Standing) -> None:
        self._transitions[standing.backend, standing.state] += 1
        log(
            "backend_state",
            level="info" if standing.state in ("ready", "half_open") else "warning",
            backend=standing.backend,
            state=standing.state,
            reason=standing.reason,
            until=moment(standing.until_s) if standing.until_s else None,
            worker=self._worker,
        )

    def _pass_time(self) -> None:
        self._timer = None
        now_s = monotonic()
        for name, health in self._health.items():
            if health.pass_time(now_s) and name in self._found_here:
                self._note(health.standing)
        for name, probe in tuple(self._probes.items()):
            self._look_after(name, probe, now_s)
        self._refresh()

    def _refresh(self) -> None:
        """After any change: probes, `unavailable`, and when to look again."""
        now_s = monotonic()
        before = self._probes
        self._probes = {}
        for name, health in self._health.items():
            if health.standing.state == "half_open":
                self._probes[name] = probe = before.get(name) or _Probe()
                if name not in before:
                    self._look_after(name, probe, now_s)
        unavailable = {
            name: why
            for name, health in self._health.items()
            if (why := self._why_not(name, health.standing, now_s)) is not None
        }
        if unavailable != self.unavailable:
            self.unavailable = unavailable
            self._on_change(unavailable)
        self._plan(now_s)

    def _why_not(self, name: str, standing: Standing, now_s: float) -> str | None:
        if standing.state == "ready":
            return None
        words = WORDS[standing.state]
        if standing.state != "half_open":
            return f"{words} until {moment(standing.until_s)} ({standing.reason})"
        if self._probes[name].is_usable(now_s):
            return None
        return f"{words}, another request tries it ({standing.reason})"

    def _plan(self, now_s: float) -> None:
        standings = [health.standing for health in self._health.values()]
        moments = [one.until_s for one in standings if one.state not in ("ready", "half_open")]
        if self._probes:
            moments.append(now_s + CHECK_EVERY_S)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if moments:
            delay_s = max(0.001, min(moments) - now_s)
            self._timer = self._loop.call_later(delay_s, self._pass_time)


def moment(moment_s: float) -> str:
    """A monotonic moment as UTC."""
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(time() + moment_s - monotonic()))
