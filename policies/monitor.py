"""Does the promise still hold? Watched for ever on labels that come in, at one level in all.

The capital of policies/wealth.py bet against "the error is at most the limit". While the promise
holds, an alarm ever comes with probability at most delta; when it is broken, capital grows the
faster the worse it is. Pure: the keeper feeds it and keeps what it returns.

A promise is watched in three ways that share its level (`PromiseWatch`): by labels, by the checks
that every answer meets or does not, by complaints. A failed check and a complaint are errors; an
answer without either is not known to be right, so their shares are lower bounds of the error.

A second, undecided matter is told apart: features that drift (PSI) are a warning and no proof.
"""

from collections.abc import Sequence
from math import log

import msgspec

from .wealth import Wealth, against_at_most

PSI_WARNING = 0.2
"""Above it a distribution counts as shifted: the rule of thumb credit scoring has long used."""
PSI_LEAST = 1e-4  # an empty bin is rare, not impossible


class Monitor(msgspec.Struct, frozen=True):
    """The watch over one route's promise. Plain data, so that it outlives a restart."""

    route: str
    limit: float
    delta: float
    wealth: Wealth
    weight_max: float = 1.0
    alarmed_after: int | None = None
    """Labels after which the promise was found broken; it stays found."""

    @property
    def is_broken(self) -> bool:
        """Whether the promise is refuted."""
        return self.alarmed_after is not None


def watch(route: str, *, limit: float, delta: float, weight_max: float = 1.0) -> Monitor:
    """A watch that has seen nothing. `weight_max` bounds the weights of labels to come."""
    return Monitor(route, limit, delta, against_at_most(limit / weight_max), weight_max)


def observe(monitor: Monitor, loss: float | None, *, weight: float = 1.0) -> Monitor:
    """After one more label: `loss` 0 (right) to 1 (wrong); None and NaN tell nothing.

    `weight` is 1 / (probability the label was drawn with), scaled to a mean of 1; a greater one
    than `weight_max` counts as that, which can delay an alarm and never causes one.
    """
    if loss is None or loss != loss or monitor.is_broken:
        return monitor
    clipped = min(1.0, max(0.0, loss)) * min(weight, monitor.weight_max) / monitor.weight_max
    wealth = monitor.wealth.bet(clipped)
    broken = wealth.count if wealth.has_refuted(monitor.delta) else None
    return msgspec.structs.replace(monitor, wealth=wealth, alarmed_after=broken)


class PromiseWatch(msgspec.Struct, frozen=True):
    """All that watches one promise. `proof` names the proof it was made by."""

    proof: str
    labels: Monitor
    checks: Monitor
    complaints: Monitor
    since_us: int = 0
    """What was answered before says nothing of this promise."""

    @property
    def broken(self) -> tuple[str, Monitor] | None:
        """What refutes the promise, if anything does."""
        for name, monitor in (
            ("labels", self.labels),
            ("checks", self.checks),
            ("complaints", self.complaints),
        ):
            if monitor.is_broken:
                return name, monitor
        return None


def watch_promise(
    route: str, *, proof: str, limit: float, delta: float, since_us: int = 0
) -> PromiseWatch:
    """A watch over "the error is at most `limit`": it is wrongly refuted with probability at most
    `delta`, ever. Labels, which tell most, have half of that."""
    labels = watch(route, limit=limit, delta=delta / 2)
    other = watch(route, limit=limit, delta=delta / 4)
    return PromiseWatch(proof, labels, other, other, since_us)


def saw_answer(promise: PromiseWatch, *, failed_check: bool | None) -> PromiseWatch:
    """After an answer of the route; `failed_check` None: nothing looked at it."""
    checked = None if failed_check is None else float(failed_check)
    return msgspec.structs.replace(
        promise,
        checks=observe(promise.checks, checked),
        complaints=observe(promise.complaints, 0.0),
    )


def saw_complaint(promise: PromiseWatch) -> PromiseWatch:
    """After somebody has said that an answer, seen before, was wrong."""
    return msgspec.structs.replace(promise, complaints=observe(promise.complaints, 1.0))


def saw_label(promise: PromiseWatch, loss: float | None) -> PromiseWatch:
    """After a label of an answer."""
    return msgspec.structs.replace(promise, labels=observe(promise.labels, loss))


def stability_index(before: Sequence[int], now: Sequence[int]) -> float:
    """PSI of two histograms over the same bins; 0 where they are alike or one is empty."""
    total_before, total_now = sum(before), sum(now)
    if not total_before or not total_now:
        return 0.0
    index = 0.0
    for count_before, count_now in zip(before, now, strict=True):
        was = max(PSI_LEAST, count_before / total_before)
        is_now = max(PSI_LEAST, count_now / total_now)
        index += (is_now - was) * log(is_now / was)
    return index
