"""Are promises kept? Labels are drawn 1,000 times, a threshold certified on each, judged on all.

Scores are those of rows the fit did not see (five folds), so a promise's labels were not used to
fit what they certify. The row of thresholds is fixed from unlabelled scores. `ideal` is the
cheapest threshold that truly keeps the limit; `plug-in` takes the cheapest that kept it on the
labels, which is what hand-tuning does. `least` is how far half of all draws let any test of the
same level go that counts errors: what 3,000 labels do not know of a limit, 1.3 points at 25 %,
costs the strong calls that buy as much.
"""

from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from policies.monitor import observe, watch
from policies.paired import certify_pairs, critical_score
from policies.promise import errors_allowed, thresholds_of

from .outcomes import Outcome

DELTA = 0.05
ONE_SIDED = NormalDist().inv_cdf(1 - DELTA)
LIFE_LABELS = 3000


class Kept(NamedTuple):
    """One (target, n) of the grid."""

    name: str
    labels: int
    broken: float
    """Share of draws whose certified threshold errs more than the limit, on all rows."""
    share: float
    """Mean share of strong calls."""
    ideal: float
    plug_in_broken: float
    least: float
    """The share that half of the draws allow the best test of this level: where the true error
    lies 1.645 of its own standard errors below the limit."""


class Judged:
    """Rows with scores of a model that did not see them, sorted into the row of thresholds."""

    def __init__(self, rows: Sequence[Outcome], scores: Sequence[float]) -> None:
        self.cheap = np.array([1 - (row.weak or 0) for row in rows])
        self.reference = np.array([1 - (row.strong or 0) for row in rows])
        self.row = thresholds_of(scores)
        self.bucket = np.searchsorted(np.array(self.row), np.array(scores), side="right")
        """The first policy of the row that sends a request to the cheap backend."""
        self.share = 1 - np.cumsum(self.count(np.arange(len(rows)), None)) / len(rows)

    def count(self, places: Any, values: Any) -> Any:
        """Sums of `values` of rows by bucket, one per policy."""
        picked = None if values is None else values[places]
        return np.bincount(self.bucket[places], picked, len(self.row) + 1)[: len(self.row)]

    def errors(self, places: Any) -> Any:
        """Errors of every policy of the row, on some rows."""
        saved = np.cumsum(self.count(places, self.cheap - self.reference))
        return self.reference[places].sum() + np.rint(saved)


def absolute(judged: Judged, name: str, limit: float, labels: int, draws: int) -> Kept:
    """Error at most `limit`: the exact binomial."""
    everyone = np.arange(len(judged.cheap))
    truth = judged.errors(everyone) / len(everyone)
    allowed = errors_allowed(labels, limit, DELTA)
    chance = np.random.default_rng(labels)
    certified, tuned = [], []
    for _ in range(draws):
        errors = judged.errors(chance.choice(everyone, labels))
        certified.append(_last_before(errors > allowed))
        tuned.append(_last_before(errors > limit * labels))
    spread = np.sqrt(truth * (1 - truth) / labels)
    return _kept(judged, name, labels, truth, limit, certified, tuned, spread)


def paired(judged: Judged, name: str, margin: float, labels: int, draws: int) -> Kept:
    """Error at most the reference's plus `margin`, on the same requests: exact, by pairs."""
    everyone = np.arange(len(judged.cheap))
    loss = judged.cheap - judged.reference
    truth = np.cumsum(judged.count(everyone, loss)) / len(everyone)
    critical = critical_score(labels, margin, DELTA)
    chance = np.random.default_rng(labels)
    certified, tuned = [], []
    for _ in range(draws):
        places = chance.choice(everyone, labels)
        worse = np.cumsum(judged.count(places, (loss > 0).astype(float)))
        better = np.cumsum(judged.count(places, (loss < 0).astype(float)))
        found = certify_pairs(
            worse.tolist(), better.tolist(), labels, margin=margin, critical=critical
        )
        certified.append(found.index)
        tuned.append(_last_before((worse - better) / labels > margin))
    differing = np.cumsum(judged.count(everyone, np.abs(loss))) / len(everyone)
    spread = np.sqrt((differing - truth**2) / labels)
    return _kept(judged, name, labels, truth, margin, certified, tuned, spread)


def _last_before(fails: Any) -> int | None:
    first = int(np.argmax(fails)) if fails.any() else len(fails)
    return first - 1 if first > 0 else None


def _kept(
    judged: Judged,
    name: str,
    labels: int,
    truth: Any,
    limit: float,
    certified: Sequence[int | None],
    tuned: Sequence[int | None],
    spread: Any,
) -> Kept:
    """Nothing certified sends all to the reference and promises nothing, so breaks nothing."""
    ideal = _last_before(truth > limit)
    return Kept(
        name,
        labels,
        sum(index is not None and truth[index] > limit for index in certified) / len(certified),
        float(np.mean([judged.share[index or 0] for index in certified])),
        float(judged.share[ideal or 0]),
        sum(index is not None and truth[index] > limit for index in tuned) / len(tuned),
        float(judged.share[_last_before(truth > limit - ONE_SIDED * spread) or 0]),
    )


def grid(mmlu: Judged, gsm8k: Judged, *, draws: int) -> Iterator[Kept]:
    """Every (target, n)."""
    for labels in (300, 1000, 3000):
        for limit in (0.25, 0.22):
            yield absolute(mmlu, f"MMLU error <= {limit:.0%}", limit, labels, draws)
        yield paired(mmlu, "MMLU error <= strong + 5 pp", 0.05, labels, draws)
        for limit in (0.20, 0.17):
            yield absolute(gsm8k, f"GSM8K error <= {limit:.0%}", limit, labels, draws)
        yield paired(gsm8k, "GSM8K error <= strong + 5 pp", 0.05, labels, draws)


class Alarms(NamedTuple):
    """What the monitor did under shifts and without."""

    shifts: int
    in_time: float
    false: float
    median_labels: float


def alarms(rows: Sequence[Outcome], scores: Sequence[float], *, limit: float, draws: int) -> Alarms:
    """Certify on some subjects, serve others.

    A shift is a draw of ten subjects whose requests err at least a quarter more than the limit
    under the certified threshold. In time is an alarm before twice the errors were made that the
    promise allows for the 3,000 requests of a lock's life. False are alarms on the traffic the
    threshold was certified on.
    """
    chance = np.random.default_rng(7)
    subjects = sorted({row.task for row in rows})
    task = np.array([row.task for row in rows])
    found, delays, false, quiet = [], [], 0, 0
    while len(found) < draws:
        served = chance.choice(len(subjects), 10, replace=False)
        there = np.isin(task, [subjects[number] for number in served])
        wrong, calm = _served_errors(rows, scores, there, limit, chance)
        quiet += 1
        false += _alarm(calm, limit) is not None
        if wrong.mean() < 1.25 * limit:
            continue
        after = _alarm(wrong, limit)
        found.append(after is not None and wrong[:after].sum() <= 2 * limit * LIFE_LABELS)
        delays.append(after or LIFE_LABELS)
    return Alarms(len(found), sum(found) / len(found), false / quiet, float(np.median(delays)))


def _served_errors(
    rows: Sequence[Outcome], scores: Sequence[float], there: Any, limit: float, chance: Any
) -> tuple[Any, Any]:
    """Errors of the certified threshold on shifted traffic, and on traffic like the labels."""
    home = np.flatnonzero(~there)
    judged = Judged([rows[i] for i in home], [scores[i] for i in home])
    errors = judged.errors(chance.integers(0, len(home), 1000))
    index = _last_before(errors > errors_allowed(1000, limit, DELTA)) or 0
    threshold = judged.row[index]
    value = np.array(scores)
    cheap = np.array([1 - (row.weak or 0) for row in rows])
    reference = np.array([1 - (row.strong or 0) for row in rows])
    wrong = np.where(value < threshold, cheap, reference)
    away = np.flatnonzero(there)
    return wrong[chance.choice(away, LIFE_LABELS)], wrong[chance.choice(home, LIFE_LABELS)]


def _alarm(wrong: Any, limit: float) -> int | None:
    monitor = watch("route", limit=limit, delta=DELTA)
    for loss in wrong.tolist():
        monitor = observe(monitor, float(loss))
        if monitor.is_broken:
            break
    return monitor.alarmed_after
