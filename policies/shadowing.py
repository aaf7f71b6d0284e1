"""Which answered requests are shown to another backend as well, and what that may cost.

drawn     a request's seed alone says whether it is sampled, so the sample can be made again
budget    dollars a day, handed out evenly: after a pause or a restart at most one hour's part
          is there at once, so neither a burst nor a loop of restarts spends a day's money
"""

from hashlib import blake2b

HOURS = 24.0
HOUR_S = 3600.0
CHANCE_MAX = 0xFFFFFFFFFFFF
_BYTES = 6


def is_drawn(seed: int, share: float, *, backend: str) -> bool:
    """Whether the request with this seed is among the `share` that `backend` is shown."""
    digest = blake2b(f"shadow:{backend}:{seed}".encode(), digest_size=_BYTES).digest()
    return int.from_bytes(digest, "big") / (CHANCE_MAX + 1) < share


class DailyBudget:
    """One worker's part of what copies may cost. Moments are seconds of any clock that does not
    go back.

    A call reserves what calls have cost so far on the average, and pays what it did cost: the
    limit can be passed by no more than what the calls under way turn out dearer.
    """

    __slots__ = ("_at_s", "_paid", "_reserved", "_usd", "spent_usd", "usd_a_day")

    def __init__(self, usd_a_day: float) -> None:
        self.usd_a_day = usd_a_day
        self._usd = usd_a_day / HOURS
        self._at_s: float | None = None
        self._paid = 0
        self._reserved = 0
        self.spent_usd = 0.0
        """Since this account was opened."""

    def __repr__(self) -> str:
        return f"<DailyBudget ${self.usd_a_day:g} a day, ${self._usd:.6g} left>"

    def take(self, now_s: float) -> bool:
        """Reserve for one call; False where there is nothing left for it."""
        self._fill(now_s)
        each = self.spent_usd / self._paid if self._paid else 0.0
        if self._usd - each * self._reserved <= 0.0 or self._usd < each:
            return False
        self._reserved += 1
        return True

    def pay(self, cost_usd: float | None) -> None:
        """A call that was reserved for is over; None: what it cost is not known."""
        self._reserved -= 1
        if cost_usd is not None:
            self._paid += 1
            self._usd -= cost_usd
            self.spent_usd += cost_usd

    def _fill(self, now_s: float) -> None:
        if self._at_s is not None:
            grown = self.usd_a_day * (now_s - self._at_s) / (HOURS * HOUR_S)
            self._usd = min(self.usd_a_day / HOURS, self._usd + max(0.0, grown))
        self._at_s = now_s
