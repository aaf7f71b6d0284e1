"""The world a choice is made in, every candidate as it was seen, and the choice.

Types alone, so that what makes them (decide.py) can be compiled.
"""

from collections.abc import Mapping

import msgspec

from .compiled_route import PlanStep
from .learned import Learned


class World(msgspec.Struct, frozen=True):
    """The state of the world a decision is made in."""

    learned: Learned
    in_flight: Mapping[str, int] = {}
    """Requests each backend is serving now."""
    unavailable: Mapping[str, str] = {}
    """Backends not to be asked, with the reason."""
    certified: frozenset[str] = frozenset()
    """Routes whose `require.error` holds by a certified lock."""
    void: Mapping[str, str] = {}
    """Why it does not on others, by route."""


class Candidate(msgspec.Struct, frozen=True):
    """One candidate as the decision saw it. `None` is unknown."""

    backend: str
    eligible: bool
    cost_usd: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p_within: float | None
    """P(T <= the route's budget); None without a budget too."""
    p_acceptable: float | None
    propensity: float
    """The probability with which this decision took it."""
    prior: bool
    """`expect:` stands in for a figure that was not measured yet."""
    reason: str


class Choice(msgspec.Struct, frozen=True):
    """What a decision is before it has an identity: the same for all requests of a kind."""

    chosen: str | None
    reason: str
    candidates: tuple[Candidate, ...]
    plan: tuple[PlanStep, ...]
