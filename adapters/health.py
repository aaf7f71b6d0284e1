"""How one backend stands: a circuit breaker, and the reasons a backend itself gives for a pause.

    ready --5 failures in a row, or under 80 % of 20 or more in ten seconds--> failing
    ready --429, a spent quota, our key refused, still loading--> that word, for as long as it says
    rate_limited --its time is over--> ready; all others --> half_open
    half_open --one request answered--> ready; --failed--> failing, for longer

A circuit stays open for a tenth of the outage so far, at least 5 s and at most 300 s, the last
half of it by chance: a backend that was away for a minute is asked again within six seconds, one
that has been gone since yesterday every few minutes. (Finagle: 5 failures, 80 %, 5 -> 300 s,
equal jitter; doubling would leave a backend alone for 40 s after its first minute.)

Pure: moments are monotonic seconds of this machine, chance is a number from 0 to 1, both given.
"""

from typing import Final

from .standing import Pause, Standing, State
from .window import Window

FAILURES_IN_A_ROW: Final = 5
REQUESTS_MIN: Final = 20
SUCCESS_MIN: Final = 0.8
OPEN_MIN_S: Final = 5.0
OPEN_MAX_S: Final = 300.0
OUTAGE_SHARE: Final = 0.1
SAME_OUTAGE_S: Final = 10.0
"""A circuit that opens again so soon after it closed goes on with the same outage."""
PAUSE_MAX_S: Final = 86_400.0
"""A `retry-after` of more than a day is a mistake, or a quota that one request a day may try."""
EXTENSION_MIN_S: Final = 1.0
"""Refusals that come together, each with its own `retry-after`, are one pause."""
CURED_BY_AN_ANSWER: Final = ("no_quota", "credential_refused", "loading")
"""Where nothing else is left a paused backend is asked on; an answer is news then."""


class Health:
    """One backend as one worker sees it. Methods return whether the standing has changed."""

    __slots__ = ("_window", "failures_in_a_row", "standing")

    def __init__(self, backend: str) -> None:
        self.standing = Standing(backend)
        self.failures_in_a_row = 0
        self._window = Window()  # successes and failures

    def __repr__(self) -> str:
        return f"<Health {self.standing.backend} {self.standing.state} {self._window}>"

    @property
    def is_failing(self) -> bool:
        """Whether another call would go to a backend that is known to have failed last."""
        return self.failures_in_a_row > 0 or self.standing.state != "ready"

    # -- what came of a call; `begun_s` is when it was sent -------------------------------------

    def succeeded(self, now_s: float, *, begun_s: float, is_probe: bool = False) -> bool:
        """A whole answer, or a stream well begun."""
        self.failures_in_a_row = 0
        self._window.add_first(now_s)
        standing = self.standing
        if standing.state == "ready":
            return False
        if is_probe:
            return self._close(now_s, "a probe was answered")
        if standing.state in CURED_BY_AN_ANSWER and begun_s > standing.since_s:
            return self._close(now_s, "it answers again")
        return False

    def failed(
        self, now_s: float, reason: str, *, begun_s: float, chance: float, is_probe: bool = False
    ) -> bool:
        """A failure of the backend's own.

        Calls from before the last change say nothing of what came after it.
        """
        if is_probe:
            return self._open(now_s, f"the probe failed: {reason}", chance)
        if begun_s < self.standing.since_s:
            return False
        self.failures_in_a_row += 1
        self._window.add_second(now_s)
        if self.standing.state != "ready":
            return False
        why = self._why_open()
        return why is not None and self._open(now_s, f"{why}, the last: {reason}", chance)

    def paused(self, pause: Pause, now_s: float, span_s: float, reason: str) -> bool:
        """The backend itself says to leave it alone for `span_s`. The longer pause holds.

        A rate limit met by a probe keeps the circuit open until it is over.
        """
        standing = self.standing
        until_s = now_s + min(span_s, PAUSE_MAX_S)
        if pause == standing.state:
            is_longer = pause == "rate_limited" and until_s > standing.until_s + EXTENSION_MIN_S
        else:
            is_longer = until_s > max(now_s, standing.until_s)
        if not is_longer:
            return False
        if pause == "rate_limited" and standing.state in ("failing", "half_open"):
            pause = "failing"
        return self._become(pause, now_s, reason, until_s)

    # -- time, and other workers --------------------------------------------------------------

    def pass_time(self, now_s: float) -> bool:
        """End a pause whose time is over."""
        standing = self.standing
        if standing.state in ("ready", "half_open") or now_s < standing.until_s:
            return False
        if standing.state == "rate_limited":
            return self._become("ready", now_s, "the pause is over")
        return self._become("half_open", now_s, standing.reason)

    def adopt(self, told: Standing) -> bool:
        """What another worker found out, if it is newer than what is known here."""
        if told.since_s <= self.standing.since_s:
            return False
        if told.state in ("ready", "failing"):
            self._forget_counts()
        self.standing = told
        return True

    # -- inside -------------------------------------------------------------------------------

    def _why_open(self) -> str | None:
        if self.failures_in_a_row >= FAILURES_IN_A_ROW:
            return f"{FAILURES_IN_A_ROW} failures in a row"
        good, bad = self._window.first, self._window.second
        if good + bad >= REQUESTS_MIN and good < SUCCESS_MIN * (good + bad):
            return f"{bad} of {good + bad} failed"
        return None

    def _open(self, now_s: float, reason: str, chance: float) -> bool:
        before = self.standing
        outage_s = before.outage_s
        is_new = before.state == "ready" and now_s - before.since_s > SAME_OUTAGE_S
        if not outage_s or is_new:
            outage_s = now_s
        span_s = min(OPEN_MAX_S, max(OPEN_MIN_S, (now_s - outage_s) * OUTAGE_SHARE))
        until_s = now_s + span_s * (0.5 + 0.5 * chance)
        self._forget_counts()
        self.standing = Standing(before.backend, "failing", reason, now_s, until_s, outage_s)
        return True

    def _close(self, now_s: float, reason: str) -> bool:
        self._forget_counts()
        return self._become("ready", now_s, reason)

    def _become(self, state: State, now_s: float, reason: str, until_s: float = 0.0) -> bool:
        before = self.standing
        self.standing = Standing(before.backend, state, reason, now_s, until_s, before.outage_s)
        return True

    def _forget_counts(self) -> None:
        self.failures_in_a_row = 0
        self._window.clear()
