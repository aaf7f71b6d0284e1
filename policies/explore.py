"""Exploration: now and then a draw among the eligible, so that the log can judge other policies.

With probability `share` a request goes to one of the eligible candidates, each as likely as the
next; else to the one preferred. What could have been taken, and with which probability, stands
beside every decision. A candidate that fails a limit is never drawn, and nothing is drawn where
the one taken is not eligible itself (`if_none`), or where there is no other.
"""

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from .choice import Choice
from .compiled_route import PlanStep

CHANCE_MAX = 0xFFFFFFFFFFFF
_BYTES = 6


def explore(
    choice: Choice, share: float, plans: Mapping[str, tuple[PlanStep, ...]], *, seed: int | str
) -> Choice:
    """The choice after the draw, with the propensities of all candidates.

    `seed` alone decides the draw: of the decision, or of the conversation where it is to hold
    for all of it.
    """
    eligible = [candidate.backend for candidate in choice.candidates if candidate.eligible]
    if choice.chosen is None or choice.chosen not in eligible or len(eligible) < 2:
        return choice
    taken, reason = choice.chosen, choice.reason
    drawn, place = chances(seed)
    if drawn < share:
        taken = eligible[min(int(place * len(eligible)), len(eligible) - 1)]
        reason = f"explored: drawn among {len(eligible)}"
    each = share / len(eligible)
    candidates = tuple(
        [
            msgspec.structs.replace(
                candidate,
                propensity=(each if candidate.eligible else 0.0)
                + (1.0 - share if candidate.backend == choice.chosen else 0.0),
            )
            for candidate in choice.candidates
        ]
    )
    return Choice(taken, reason, candidates, plans.get(taken, ()))


def chances(seed: int | str) -> tuple[float, float]:
    """Two numbers in [0, 1] that only the seed decides: whether to draw, and whom."""
    digest = blake2b(f"explore:{seed}".encode(), digest_size=2 * _BYTES).digest()
    return (
        int.from_bytes(digest[:_BYTES], "big") / CHANCE_MAX,
        int.from_bytes(digest[_BYTES:], "big") / CHANCE_MAX,
    )
