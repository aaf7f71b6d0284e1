"""Routes that may send a request twice: what they must know and may spend for it."""

import time

from pointsman.tokens import Usage
from policies.hedge_budget import HedgeBudget
from policies.learned import Learned, Observation
from tests.support.plane import Plane

HEDGE = "hedge: {after: p95, max_extra_cost: 5%}"
SAMPLES = 30


def learned_times(*, total_s: float, first_token_s: float | None = None) -> Learned:
    """A state in which backend `a` is known to take this long."""
    learned = Learned()
    for _ in range(SAMPLES):
        seen = Observation("a", "other", 40, Usage(), first_token_s, total_s, True)
        learned.observe(seen, 1_700_000_000.0)
    return learned


def allow(plane: Plane, *, requests: int = 100) -> HedgeBudget:
    """Let the default route have sent so many requests just now."""
    budget = HedgeBudget(0.05)
    for _ in range(requests):
        budget.request_sent(time.monotonic(), None)
    plane.call(lambda: plane.data_plane.wiring.hedge_budgets.update(default=budget))
    return budget


def ready_to_hedge(plane: Plane, *, total_s: float = 0.05, first_token_s: float = 0.05) -> None:
    """Backend `a` is known, and there is room."""
    learned = learned_times(total_s=total_s, first_token_s=first_token_s)
    plane.call(lambda: plane.data_plane.learn(learned))
    allow(plane)
