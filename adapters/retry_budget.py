"""The retry budget: how many calls may be added to those that clients asked for.

    allowed in ten seconds     20 % of the requests sent in them
    and besides                10 in one second, 100 in ten, over all workers

Without it, a backend that fails gets three times its load at the moment it can bear least
(Finagle's RetryBudget, Google SRE's 10 %). A call counts when it is sent. What was not known to
fail and failed is charged afterwards, so the balance may be in debt until the window has moved on.
"""

from typing import Final

from .window import Window

SHARE: Final = 0.2
FLOOR_PER_S: Final = 10.0
_REFILL_PER_S: Final = 9.0
"""Ten seconds with a full bucket at their start hold 10 + 90: a hundred, not more."""


class RetryBudget:
    """One worker's: with `workers` of them each has its part of the floor, and nobody asks."""

    __slots__ = ("_floor", "_floor_at_s", "_floor_max", "_refill_per_s", "_sent", "refused")

    def __init__(self, *, workers: int = 1) -> None:
        self._sent = Window()  # requests, and what was added to them at their expense
        self._floor_max = max(1.0, FLOOR_PER_S / workers)
        self._refill_per_s = _REFILL_PER_S / workers
        self._floor = self._floor_max
        self._floor_at_s = 0.0
        self.refused = 0
        """How often a call was not made for lack of it."""

    def __repr__(self) -> str:
        sent = self._sent
        return f"<RetryBudget requests={sent.first} retries={sent.second} floor={self._floor:.1f}>"

    def request_sent(self, now_s: float) -> None:
        """A client's request was sent: a fifth of a retry for the next ten seconds."""
        self._sent.add_first(now_s)

    def has_room(self, now_s: float) -> bool:
        """Whether one more call may be added."""
        self._sent.move_to(now_s)
        self._refill(now_s)
        return self._has_share() or self._floor >= 1.0

    def retry_sent(self, now_s: float) -> None:
        """One was added, whether or not there was room."""
        self._sent.move_to(now_s)
        self._refill(now_s)
        if self._has_share() or self._floor < 1.0:
            self._sent.add_second(now_s)
        else:
            self._floor -= 1.0

    def _has_share(self) -> bool:
        return self._sent.second + 1 <= self._sent.first * SHARE

    def _refill(self, now_s: float) -> None:
        grown = self._floor + (now_s - self._floor_at_s) * self._refill_per_s
        self._floor = min(self._floor_max, max(self._floor, grown))
        self._floor_at_s = now_s
