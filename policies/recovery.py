"""Back after an outage: who was too late once is tried again, or nobody would ever know better.

A candidate that misses `require.latency` gets no request, so nothing new is learned of it. What was
measured of it grows old; after SILENCE_S it is unknown rather than late, and unknown excludes
nobody. But all traffic at once would be too much of a trial: one request of 64 goes there until
an answer has come. The first ones after a silence count more (sketch.py), so that three or four
trials, each a minute after the other, bring a backend back that is well again.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from .choice import Candidate, Choice, World
from .compiled_route import CompiledRoute
from .words import Route

SILENCE_S: Final = 60.0
SHARE: Final = 1 / 64
_DRAWN_MAX: Final = 0xFFFFFFFF


def try_again(
    choice: Choice, route: Route, compiled: CompiledRoute, world: World, *, seed: int
) -> Choice:
    """The choice, or now and then the trial of one that was late long ago.

    The seed alone decides; propensities of all are those of the draw.
    """
    silent = []
    for one in choice.candidates:  # mostly there is none, and this is all
        if (
            not one.eligible
            and one.backend != choice.chosen
            and _is_due(one, route, compiled, world)
        ):
            silent.append(one)
    if not silent or choice.chosen is None or _must_not(route, world):
        return choice
    drawn = int.from_bytes(blake2b(b"again:%d" % seed, digest_size=4).digest()) / _DRAWN_MAX
    each = SHARE / len(silent)
    names = [one.backend for one in silent]
    taken, reason, plan = choice.chosen, choice.reason, choice.plan
    if drawn < SHARE:
        taken = names[min(int(drawn / each), len(names) - 1)]
        reason = f"tried again: {taken} was late, but nothing was heard of it since"
        plan = compiled.plans.get(taken, ())
    return Choice(taken, reason, _with_odds(choice.candidates, names, each), plan)


def _with_odds(
    candidates: Sequence[Candidate], silent: Sequence[str], each: float
) -> tuple[Candidate, ...]:
    return tuple(
        [
            msgspec.structs.replace(
                one, propensity=each if one.backend in silent else one.propensity * (1.0 - SHARE)
            )
            for one in candidates
        ]
    )


def _is_due(one: Candidate, route: Route, compiled: CompiledRoute, world: World) -> bool:
    """Whether it fails for its times alone, and these are old."""
    within, limit = one.latency_p_within, route.require.cost
    if within is None or within >= compiled.question.quantile or one.backend in world.unavailable:
        return False
    if limit is not None and one.cost_usd is not None and one.cost_usd > limit.max_usd:
        return False
    return world.learned.silent_s(one.backend) > SILENCE_S


def _must_not(route: Route, world: World) -> bool:
    """Where only the reference may answer."""
    error = route.require.error
    if error is None:
        return False
    return route.name not in world.certified or error.gain is not None
