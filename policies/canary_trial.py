"""Is a new backend as good as the old one? Sequential tests that may be looked at any time.

    error    wrong answers as they show at once (failed, checks not passed), new minus old
    labels   wrong answers as labels and feedback say, new minus old
    late     the share of the new one's answers over the budget
    cost     dollars, new minus old

Each matter is two bets (policies/wealth.py): one that it is worse than allowed, which has to be
refuted before the canary moves on, one that it is as allowed, which rolls it back when refuted.
What both backends answered is compared pair by pair; what each answered of its own traffic, in
the order it came, an answer of the new one against the mean of those of the old one at hand.
Unknown is left out: it proves nothing, and so it promotes nothing.
"""

from collections.abc import Callable, Collection
from typing import Final, Literal

import msgspec

from .wealth import Wealth, against_at_least, against_at_most

MatterName = Literal["error", "labels", "late", "cost"]

DELTA: Final = 0.05
"""A canary worse than allowed in a matter passes that matter with at most this probability, ever;
one as good as allowed in all is ever rolled back with at most this probability."""
LABELS_DECIDE: Final = 20
"""From so many labels of the new one on, they decide over its errors, and no longer the checks."""
COST_TOLERANCE: Final = 0.05
"""Equal costs cannot be proved, only that they differ by less than this share of the old one."""
COST_SPREAD: Final = 5.0
"""A cost counts up to this many times the old one's mean."""
COSTS_FIRST: Final = 20
"""Of the old one, before that mean is taken for known."""
RESERVE: Final = 1000
"""Answers of one side kept for the other's: at 100 % the old one answers nothing any more."""


class Allowed(msgspec.Struct, frozen=True):
    """What `keep_if` allows; None is not asked."""

    error: float | None = None
    """Difference of error shares."""
    late: float | None = None
    """Share of answers over the budget."""
    cost: float | None = None
    """Relative difference of cost."""


class Seen(msgspec.Struct, frozen=True):
    """One answer, as it bears on the matters. None is unknown."""

    loss: float | None = None
    """0 (as good as one can see) to 1 (failed, or refused by a check)."""
    is_judged: bool = False
    """A check or schema looked at it: only then its passing counts for it."""
    is_late: bool | None = None
    cost_usd: float | None = None


class Matter(msgspec.Struct, frozen=True):
    """One thing a canary must keep."""

    name: MatterName
    limit: float
    kept: Wealth
    broken: Wealth
    new: tuple[float, ...] = ()
    """Of the new backend, waiting for the old one's."""
    old: tuple[float, ...] = ()
    scale: float = 1.0
    """What a difference of 1 stands for; 0: not known yet."""
    count: int = 0
    """Observations that were bet on."""
    difference: float = 0.0
    """Their sum, as `limit` is written (cost: of the old one's mean)."""

    @property
    def mean(self) -> float | None:
        """Of the observations, in the terms of `limit`."""
        return self.difference / self.count if self.count else None


class CanaryTrial(msgspec.Struct, frozen=True):
    """Where a canary's tests stand. Plain data, so that it outlives a restart."""

    matters: tuple[Matter, ...]


def begin(allowed: Allowed) -> CanaryTrial:
    """Tests that have seen nothing."""
    matters: list[Matter] = []
    if allowed.error is not None:
        matters.append(_difference("error", allowed.error))
        matters.append(_difference("labels", allowed.error))
    if allowed.late is not None:
        kept, broken = against_at_least(allowed.late), against_at_most(allowed.late)
        matters.append(Matter("late", allowed.late, kept, broken))
    if allowed.cost is not None:
        kept, broken = against_at_least(0.5), against_at_most(0.5)
        matters.append(Matter("cost", allowed.cost, kept, broken, scale=0.0))
    return CanaryTrial(tuple(matters))


def next_stage(trial: CanaryTrial) -> CanaryTrial:
    """The tests for a greater share: what is broken is looked for anew, and so is all of latency,
    which depends on the load. What was proved of errors and cost stays proved."""
    return CanaryTrial(tuple(_renewed(matter) for matter in trial.matters))


def observe_new(trial: CanaryTrial, seen: Seen) -> CanaryTrial:
    """After an answer of the new backend to its own traffic."""
    return _each(trial, lambda matter: _take(matter, _value(matter, seen), None, seen.is_judged))


def observe_old(trial: CanaryTrial, seen: Seen) -> CanaryTrial:
    """After an answer of the backend it replaces."""
    return _each(
        trial,
        lambda matter: (
            matter
            if matter.name == "late"
            else _take(matter, None, _value(matter, seen), seen.is_judged)
        ),
    )


def observe_pair(trial: CanaryTrial, new: Seen, old: Seen) -> CanaryTrial:
    """After both have answered one request."""
    return _each(trial, lambda matter: _observe_pair(matter, new, old))


def observe_label(trial: CanaryTrial, *, new: float | None, old: float | None) -> CanaryTrial:
    """After a label has said how wrong (0 to 1) an answer of one of them is, or one of each to the
    same request."""

    def told(matter: Matter) -> Matter:
        if matter.name != "labels":
            return matter
        if new is not None and old is not None:
            return _bet_difference(matter, new, old, proves=True)
        return _take(matter, new, old, is_judged=True)

    return _each(trial, told)


def broken(trial: CanaryTrial, *, stages: int) -> str | None:
    """Why the canary must go back; None where nothing is proved against it."""
    level = DELTA / (max(1, len(trial.matters)) * max(1, stages))
    for matter in trial.matters:
        if matter.broken.has_refuted(level):
            return f"{describe(matter)}, proved worse than allowed"
    return None


def unproved(trial: CanaryTrial, *, without: Collection[MatterName] = ()) -> list[str]:
    """What is not proved to be kept yet, in words; empty: everything is, but for `without`."""
    return [
        describe(matter)
        for matter in deciding(trial)
        if matter.name not in without and not matter.kept.has_refuted(DELTA)
    ]


def deciding(trial: CanaryTrial) -> list[Matter]:
    """The matters that have to be proved: of the two about errors, the one that knows more."""
    labels = next((one for one in trial.matters if one.name == "labels"), None)
    left_out = "labels" if labels is None or labels.count < LABELS_DECIDE else "error"
    return [matter for matter in trial.matters if matter.name != left_out]


def describe(matter: Matter) -> str:
    """`cost -12.3% (at most +0%) of 410 answers`."""
    mean = "unknown" if matter.mean is None else _figure(matter, matter.mean)
    name = "error by labels" if matter.name == "labels" else matter.name
    return f"{name} {mean} (at most {_figure(matter, matter.limit)}) of {matter.count} answers"


# -- inside --------------------------------------------------------------------------------------


def _difference(name: MatterName, margin: float) -> Matter:
    claim = (margin + 1.0) / 2.0
    return Matter(name, margin, against_at_least(claim), against_at_most(claim))


def _renewed(matter: Matter) -> Matter:
    broken = Wealth(matter.broken.claim, is_upper=False)
    if matter.name != "late":
        return msgspec.structs.replace(matter, broken=broken)
    kept = Wealth(matter.kept.claim, is_upper=True)
    return msgspec.structs.replace(matter, broken=broken, kept=kept, count=0, difference=0.0)


def _each(trial: CanaryTrial, change: Callable[[Matter], Matter]) -> CanaryTrial:
    return CanaryTrial(tuple([change(matter) for matter in trial.matters]))


def _value(matter: Matter, seen: Seen) -> float | None:
    """What an answer says of a matter; None: nothing."""
    if matter.name == "late":
        return None if seen.is_late is None else float(seen.is_late)
    value = seen.cost_usd if matter.name == "cost" else seen.loss
    if matter.name == "labels" or value is None or value != value or value < 0.0:
        return None
    return value


def _take(matter: Matter, new: float | None, old: float | None, is_judged: bool) -> Matter:
    """One value of one side, bet on as soon as the other has one too.

    What proves nothing is not kept waiting: only what is at hand is held against it.
    """
    if new is None and old is None:
        return matter
    if matter.name == "late":
        return _bet_late(matter, new)
    proves = is_judged or matter.name == "cost"
    if old is not None:
        matter = msgspec.structs.replace(matter, old=(*matter.old, old)[-2 * RESERVE :])
    if new is not None and (proves or matter.old):
        matter = msgspec.structs.replace(matter, new=(*matter.new, new)[-RESERVE:])
    return _match(_scaled(matter), proves=proves or new is None)


def _match(matter: Matter, *, proves: bool) -> Matter:
    """Bet on what waits on both sides: the newest of the old one's first, all beyond RESERVE."""
    while matter.new and matter.old and matter.scale:
        count = max(1, len(matter.old) - RESERVE)
        taken, new = matter.old[-count:], matter.new[0]
        matter = msgspec.structs.replace(matter, new=matter.new[1:], old=matter.old[:-count])
        matter = _bet_difference(matter, new, sum(taken) / count, proves=proves)
    return matter


def _observe_pair(matter: Matter, new: Seen, old: Seen) -> Matter:
    new_value, old_value = _value(matter, new), _value(matter, old)
    if matter.name == "late":
        return _bet_late(matter, new_value)
    if new_value is None or old_value is None:
        return matter
    if not matter.scale:  # the first costs only say how much a cost may be
        return _scaled(msgspec.structs.replace(matter, old=(*matter.old, old_value)))
    proves = matter.name == "cost" or (new.is_judged and old.is_judged)
    return _bet_difference(matter, new_value, old_value, proves=proves)


def _scaled(matter: Matter) -> Matter:
    """With the greatest cost that counts, once it can be told."""
    if matter.scale or len(matter.old) < COSTS_FIRST:
        return matter
    mean = sum(matter.old) / len(matter.old)
    return msgspec.structs.replace(matter, scale=COST_SPREAD * mean) if mean > 0.0 else matter


def _bet_late(matter: Matter, value: float | None) -> Matter:
    if value is None:
        return matter
    return msgspec.structs.replace(
        matter,
        kept=matter.kept.bet(value),
        broken=matter.broken.bet(value),
        count=matter.count + 1,
        difference=matter.difference + value,
    )


def _bet_difference(matter: Matter, new: float, old: float, *, proves: bool) -> Matter:
    """Where it does not prove anything, it still may tell that a limit is broken."""
    if matter.name == "cost":
        new, old = min(new, matter.scale), min(old, matter.scale)
        told = (new - old) * COST_SPREAD / matter.scale
        over = new - (1.0 + matter.limit) * old
        kept_at = _half(over - COST_TOLERANCE * old, matter.scale)
        broken_at = _half(over, matter.scale)
    else:
        told = new - old
        kept_at = broken_at = _half(told, 1.0)
    return msgspec.structs.replace(
        matter,
        kept=matter.kept.bet(kept_at) if proves else matter.kept,
        broken=matter.broken.bet(broken_at),
        count=matter.count + 1,
        difference=matter.difference + told,
    )


def _half(difference: float, scale: float) -> float:
    """A difference in [-scale, scale] as a share; a greater one counts as that."""
    return min(1.0, max(0.0, (difference / scale + 1.0) / 2.0))


def _figure(matter: Matter, value: float) -> str:
    if matter.name == "late":
        return f"{value:.1%}"
    return f"{value:+.1%}" if matter.name == "cost" else f"{value * 100:+.2g} pp"
