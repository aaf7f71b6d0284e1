"""How often a route may send a request twice: one worker's account of the last minute.

    requests    no more than 5 % of them get a second attempt ("The Tail at Scale": after p95, 5 %)
    money       `max_extra_cost` of what they cost, as the decisions expected it

A second attempt is weighed in shares of the mean request; where a cost is unknown it weighs one.
It counts when it is sent, whatever becomes of it. The account begins empty, so a route with fewer
than twenty requests a minute in a worker sends none: that is what 5 % means.
"""

from math import inf
from typing import Final

REQUESTS_SHARE_MAX: Final = 0.05
SECONDS: Final = 60


class _Second:
    """What one second holds; it is used again a minute later."""

    __slots__ = ("at", "hedges", "priced", "requests", "shares", "usd")

    def __init__(self) -> None:
        self.begin(-SECONDS)

    def begin(self, at: int) -> None:
        """Forget the minute before."""
        self.at = at
        self.requests = 0
        self.priced = 0
        """Requests whose cost was known."""
        self.usd = 0.0
        self.hedges = 0
        self.shares = 0.0


class HedgeBudget:
    """One route's. Moments are seconds of any clock that does not go back."""

    __slots__ = ("_max_extra_cost", "_seconds")

    def __init__(self, max_extra_cost: float) -> None:
        self._max_extra_cost = max_extra_cost
        self._seconds = [_Second() for _ in range(SECONDS)]

    def request_sent(self, now_s: float, cost_usd: float | None) -> None:
        """A request was sent, expected to cost so much; None is unknown."""
        second = self._second(now_s)
        second.requests += 1
        if cost_usd is not None:
            second.priced += 1
            second.usd += cost_usd

    def has_room(self, now_s: float, cost_usd: float | None) -> bool:
        """Whether a second attempt that costs so much may be sent now."""
        recent = self._recent(now_s)
        requests = sum([second.requests for second in recent])
        hedges = sum([second.hedges for second in recent])
        if hedges + 1 > requests * REQUESTS_SHARE_MAX:
            return False
        shares = sum([second.shares for second in recent])
        return shares + _share(recent, cost_usd) <= requests * self._max_extra_cost

    def hedge_sent(self, now_s: float, cost_usd: float | None) -> None:
        """A second attempt was sent."""
        share = _share(self._recent(now_s), cost_usd)
        second = self._second(now_s)
        second.hedges += 1
        second.shares += share

    def _second(self, now_s: float) -> _Second:
        now = int(now_s)
        second = self._seconds[now % SECONDS]
        if second.at != now:
            second.begin(now)
        return second

    def _recent(self, now_s: float) -> list[_Second]:
        oldest = int(now_s) - SECONDS
        return [second for second in self._seconds if second.at > oldest]


def _share(recent: list[_Second], cost_usd: float | None) -> float:
    """A cost in mean requests of the last minute."""
    priced = sum([second.priced for second in recent])
    if cost_usd is None or not priced:
        return 1.0
    usd = sum([second.usd for second in recent])
    if usd > 0.0:
        return cost_usd * priced / usd
    return inf if cost_usd > 0.0 else 0.0
