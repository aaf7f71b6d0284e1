"""A decision: what was chosen for one request, why, and what may follow.

A plain class in a file of its own, so that it can be compiled: a request reads it a dozen times.
"""

from dataclasses import dataclass

from .choice import Candidate
from .compiled_route import PlanStep
from .words import Route


@dataclass(init=False)
class Decision:
    """Made once, by `decide`, and not changed."""

    decision_id: str
    route: Route
    policy: str
    """Digest of the policy."""
    chosen: str | None
    """None: refused by `if_none: reject`."""
    reason: str
    candidates: tuple[Candidate, ...]
    """In the route's order."""
    plan: tuple[PlanStep, ...]
    seed: int
    state: str
    """Name of the learned state that was read."""

    def __init__(
        self,
        decision_id: str,
        route: Route,
        policy: str,
        chosen: str | None,
        reason: str,
        candidates: tuple[Candidate, ...],
        plan: tuple[PlanStep, ...],
        seed: int,
        state: str,
    ) -> None:
        self.decision_id = decision_id
        self.route = route
        self.policy = policy
        self.chosen = chosen
        self.reason = reason
        self.candidates = candidates
        self.plan = plan
        self.seed = seed
        self.state = state
