"""Is a new backend as good as the old one? A sequential test that may be looked at any time.

Three matters, each a bet of its own at a share of the level: the error (paired where both answered
the same request, else the difference of two arms over its sampling), the late share, the cost.
`keep` is decided when every matter is proved kept, `roll_back` as soon as one is proved broken.
"""

from typing import Literal

import msgspec

from .wealth import Wealth, against_at_least, against_at_most

Verdict = Literal["wait", "keep", "roll_back"]


class Matter(msgspec.Struct, frozen=True):
    """One thing a canary must keep: the mean difference, new minus old, stays below `margin`.

    Differences are in [-scale, scale]; a greater one counts as that.
    """

    name: str
    margin: float
    scale: float
    kept: Wealth
    broken: Wealth


class CanaryTrial(msgspec.Struct, frozen=True):
    """Where a canary stands. Plain data."""

    matters: tuple[Matter, ...]
    delta: float
    min_samples: int


def begin(
    margins: dict[str, tuple[float, float]], *, delta: float, min_samples: int
) -> CanaryTrial:
    """A test that has seen nothing; `margins` by name: (margin, scale)."""
    matters = []
    for name, (margin, scale) in margins.items():
        claim = _share(margin, scale)
        matters.append(Matter(name, margin, scale, against_at_least(claim), against_at_most(claim)))
    return CanaryTrial(tuple(matters), delta, min_samples)


def observe(test: CanaryTrial, differences: dict[str, float | None]) -> CanaryTrial:
    """After one more pair; what is None or NaN is not known and left out."""
    return msgspec.structs.replace(
        test,
        matters=tuple(_observe(matter, differences.get(matter.name)) for matter in test.matters),
    )


def verdict(test: CanaryTrial) -> tuple[Verdict, str]:
    """What to do now, and why. The level is shared evenly by all matters."""
    level = test.delta / max(1, len(test.matters))
    for matter in test.matters:
        if matter.broken.has_refuted(level):
            return "roll_back", f"{matter.name} is worse than allowed"
    waiting = [m.name for m in test.matters if not m.kept.has_refuted(level)]
    if waiting:
        return "wait", f"not proved yet: {', '.join(waiting)}"
    seen = min((matter.kept.count for matter in test.matters), default=0)
    if seen < test.min_samples:
        return "wait", f"{seen} of {test.min_samples} samples"
    return "keep", f"all kept after {seen} samples"


def _observe(matter: Matter, difference: float | None) -> Matter:
    if difference is None or difference != difference:
        return matter
    share = min(1.0, max(0.0, _share(difference, matter.scale)))
    return msgspec.structs.replace(
        matter, kept=matter.kept.bet(share), broken=matter.broken.bet(share)
    )


def _share(difference: float, scale: float) -> float:
    return (difference / scale + 1.0) / 2.0
