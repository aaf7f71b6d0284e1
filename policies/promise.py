"""`require.error` as a promise: which of a row of policies is certified to keep it, from labels.

The row is fixed before a label is read, safest first: thresholds of a score, each sending less to
the reference. Learn-then-Test (Angelopoulos et al., 2021) tests "this policy's error is above the
limit" for each in turn, at the full level, and stops at the first it cannot reject; the last one
rejected is certified. All are rejected wrongly with probability at most delta, so the promise
holds at its confidence over the draw of the labels. It says nothing of a single answer, and holds
for traffic that is like the labels.

    certify_counts    labels drawn evenly, right or wrong: the exact binomial
    certify_weighted  labels drawn with known, unequal probabilities, or graded losses: betting
"""

from collections.abc import Iterable, Sequence
from math import ceil, exp, inf, log, log1p, nan

import msgspec

from .wealth import against_at_least

GRID_POLICIES = 101
"""Thresholds tried: every percent of the traffic."""
LABELS_MAX = 1_000_000
"""A promise that needs more labels is as good as impossible, and is said to be."""
BOUND_STEPS = 60  # halvings: to the last digit of a float


class Certificate(msgspec.Struct, frozen=True):
    """What was proved of one policy of the row, or why nothing was."""

    index: int | None
    """Place in the row; None: not even the safest is certified."""
    labels: int
    errors: float
    bound: float
    """Upper confidence bound of its error at the promise's confidence."""
    labels_needed: int | None
    """To certify the safest, had it the error seen so far; None where no number would do."""


def binomial_tail(errors: int, labels: int, limit: float) -> float:
    """P(at most `errors` of `labels`) where each is wrong with probability `limit`."""
    if errors >= labels:
        return 1.0
    if limit <= 0.0 or errors < 0:
        return 1.0 if limit <= 0.0 else 0.0
    if limit >= 1.0:
        return 0.0
    odds = log(limit) - log1p(-limit)
    term = labels * log1p(-limit)
    top, total = term, 1.0
    for number in range(1, errors + 1):
        term += log(labels - number + 1) - log(number) + odds
        if term > top:
            total = total * exp(top - term) + 1.0
            top = term
        else:
            total += exp(term - top)
    return min(1.0, exp(top + log(total)))


def errors_allowed(labels: int, limit: float, delta: float) -> int:
    """The most errors among `labels` that still prove the error below `limit`; -1: none do."""
    low, high = -1, labels
    while low < high:
        middle = (low + high + 1) // 2
        if binomial_tail(middle, labels, limit) <= delta:
            low = middle
        else:
            high = middle - 1
    return low


def error_bound(errors: int, labels: int, delta: float) -> float:
    """Clopper and Pearson's upper bound of an error rate."""
    if labels == 0 or errors >= labels:
        return 1.0
    low, high = errors / labels, 1.0
    for _ in range(BOUND_STEPS):
        middle = (low + high) / 2
        if binomial_tail(errors, labels, middle) > delta:
            low = middle
        else:
            high = middle
    return high


def labels_for(limit: float, delta: float, *, error: float = 0.0) -> int | None:
    """Labels after which an error rate of `error` proves itself below `limit`; None: never."""
    if error >= limit or limit <= 0.0:
        return None
    count = ceil(log(delta) / log1p(-limit)) if limit < 1.0 else 1
    while count <= LABELS_MAX:
        if binomial_tail(round(error * count), count, limit) <= delta:
            return count
        count += max(1, count // 50)
    return None


def certify_counts(
    errors: Sequence[int], labels: int, *, limit: float, delta: float
) -> Certificate:
    """The cheapest policy proved by counts; `errors` per policy of the row, safest first."""
    allowed = errors_allowed(labels, limit, delta)
    certified = None
    for index, wrong in enumerate(errors):
        if wrong > allowed:
            break
        certified = index
    seen = errors[certified or 0] if errors else 0
    rate = seen / labels if labels else 0.0
    return Certificate(
        certified,
        labels,
        seen,
        error_bound(seen, labels, delta),
        None if certified is not None else labels_for(limit, delta, error=rate),
    )


def certify_weighted(
    losses: Iterable[Sequence[tuple[float, float]]],
    *,
    limit: float,
    delta: float,
    weight_max: float,
) -> Certificate:
    """The cheapest policy proved by betting; per policy, safest first, (loss 0..1, weight) pairs.

    A weight is 1 / (probability with which the label was drawn), scaled so that their mean is 1;
    none exceeds `weight_max`. A paired difference in [-1, 1] is a loss of (difference + 1) / 2
    against a limit of (limit + 1) / 2.
    """
    certified: int | None = None
    mean, count = nan, 0
    for index, pairs in enumerate(losses):
        wealth = against_at_least(limit / weight_max)
        highest = -inf
        for loss, weight in pairs:
            wealth = wealth.bet(min(1.0, loss * weight / weight_max))
            highest = max(highest, wealth.log_capital)
        if highest < -log(delta):
            if index == 0:
                mean, count = _scaled_mean(wealth.mean, weight_max), wealth.count
            break
        certified, count = index, wealth.count
        mean = _scaled_mean(wealth.mean, weight_max)
    errors = 0.0 if mean != mean else mean * count
    return Certificate(certified, count, errors, limit if certified is not None else 1.0, None)


def _scaled_mean(mean: float | None, weight_max: float) -> float:
    return nan if mean is None else mean * weight_max


def thresholds_of(scores: Sequence[float], count: int = GRID_POLICIES) -> tuple[float, ...]:
    """The row, from unlabelled scores: safest first. A request whose score (what the reference
    gains) reaches the threshold goes to the reference; the first sends all, the last none.
    """
    known = sorted(score for score in scores if score == score)
    if not known:
        return (-inf,)
    steps = [round(number * (len(known) - 1) / (count - 1)) for number in range(1, count - 1)]
    return (-inf, *dict.fromkeys(known[step] for step in steps), inf)


def row_errors(
    scores: Sequence[float],
    thresholds: Sequence[float],
    *,
    cheap_wrong: Sequence[int],
    reference_wrong: Sequence[int],
) -> list[int]:
    """Errors of every policy of the row on the same labels. A NaN score goes to the reference."""
    rows = sorted(
        (
            (inf if score != score else score, cheap - reference)
            for score, cheap, reference in zip(scores, cheap_wrong, reference_wrong, strict=True)
        ),
        key=lambda row: row[0],
    )
    wrong, place, found = sum(reference_wrong), 0, []
    for threshold in thresholds:
        while place < len(rows) and rows[place][0] < threshold:
            wrong += rows[place][1]
            place += 1
        found.append(wrong)
    return found
