"""Sticky conversations: a conversation, a chain of tool calls say, stays with its model.

    a draw        exploration and shares draw by the conversation, not by the request: every worker
                  computes the same from the same words, before and after a reload
    what held     a choice that depends on what is known at that moment is remembered; it holds
                  while that backend is eligible, and the reason says why it no longer does

`unit_of` is the one place that turns an identity into a number.
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b

import msgspec

from .choice import Candidate
from .compiled_route import PlanStep
from .decision import Decision

_UNIT_BITS = 53
"""As many as a float holds exactly, so that no unit is rounded up to 1."""
_SEED_BITS = 63
"""What SQLite keeps as a whole number."""


class Held(msgspec.Struct, frozen=True, array_like=True):
    """What a conversation stays with. `propensities` are those of the draw that took it, by
    backend; empty where nothing was drawn."""

    backend: str
    propensities: tuple[tuple[str, float], ...] = ()


def unit_of(key: bytes) -> float:
    """A number in [0, 1) that only the key decides, the same in every process."""
    return _whole_of(key, _UNIT_BITS) / (1 << _UNIT_BITS)


def seed_of(key: bytes) -> int:
    """A decision's seed, for all requests of one conversation the same."""
    return _whole_of(b"seed:" + key, _SEED_BITS)


def key_of(route: str, caller: str | None, conversation: str) -> bytes:
    """A conversation's identity on a route: two callers may use the same word for theirs."""
    parts = [word.encode("utf-8", "surrogatepass") for word in (route, caller or "", conversation)]
    framed = b"".join([b"%d:%b" % (len(part), part) for part in parts])
    return blake2b(framed, digest_size=16).digest()


def held_by(decision: Decision) -> Held | None:
    """What the conversation of this decision stays with from now on."""
    if decision.chosen is None:
        return None
    drawn = [(one.backend, one.propensity) for one in decision.candidates if one.propensity]
    return Held(decision.chosen, tuple(drawn) if len(drawn) > 1 else ())


def stay(
    decision: Decision, held: Held | None, plans: Mapping[str, tuple[PlanStep, ...]]
) -> tuple[Decision, bool]:
    """The decision as the conversation has it, and whether what it held was kept to.

    A request that is refused stays refused. Candidates keep the propensities of the draw that
    was made for the conversation, since no other one was.
    """
    if held is None or decision.chosen is None:
        return decision, False
    why_not = _why_not(held.backend, decision.candidates)
    if why_not is not None:
        reason = f"{decision.reason}; the conversation leaves {held.backend}: {why_not}"
        return replace(decision, reason=reason), False
    return (
        replace(
            decision,
            chosen=held.backend,
            reason=_reason(decision, held.backend),
            candidates=_drawn(decision.candidates, held),
            plan=plans.get(held.backend, ()),
        ),
        True,
    )


def _whole_of(key: bytes, bits: int) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") >> (64 - bits)


def _why_not(backend: str, candidates: tuple[Candidate, ...]) -> str | None:
    for candidate in candidates:
        if candidate.backend == backend:
            return None if candidate.eligible else candidate.reason
    return "no candidate any more"


def _reason(decision: Decision, backend: str) -> str:
    if decision.chosen == backend:
        return f"{decision.reason}; the conversation stays with {backend}"
    return f"the conversation stays with {backend}; else {decision.chosen}: {decision.reason}"


def _drawn(candidates: tuple[Candidate, ...], held: Held) -> tuple[Candidate, ...]:
    drawn = dict(held.propensities)
    if not drawn or not drawn.keys() <= {one.backend for one in candidates}:
        drawn = {held.backend: 1.0}
    return tuple(
        [msgspec.structs.replace(one, propensity=drawn.get(one.backend, 0.0)) for one in candidates]
    )
