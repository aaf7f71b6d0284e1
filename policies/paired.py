"""Two backends on the same requests: is one at most a margin worse than the other? Exactly.

Of n requests that both answered, `worse` only the first got wrong, `better` only the second. The
claim to refute is "the first's error exceeds the second's by `margin` or more". Tango's score
(Statistics in Medicine, 1998) orders what may be seen; its critical value is moved until the
probability to refute a claim that holds is at most delta, whatever the rate at which the backends
differ (an unconditional exact test: Hsueh, Liu and Chen, Biometrics, 2001). That takes 1.7
standard errors where betting (policies/wealth.py), which may be looked at any time, takes 2.5.
"""

from collections.abc import Sequence
from math import exp, inf, lgamma, log, log1p, sqrt
from statistics import NormalDist

from .promise import Certificate

RATES = 32
"""Rates of `better` tried for the worst case, at equal steps of their square root."""
REACH = 8.0
"""Standard deviations, and as many counts, after which a tail is left out: below 1e-12."""
STEP = 0.01
"""How far the critical value is moved at a time."""
STEPS_MAX = 400
LABELS_MAX = 20_000
"""With more the normal tail is exact to the fourth digit, and summing takes seconds."""


def certify_pairs(
    worse: Sequence[int], better: Sequence[int], labels: int, *, margin: float, critical: float
) -> Certificate:
    """The cheapest policy proved to err at most `margin` more than the reference, by the fixed
    sequence of policies/promise.py; counts per policy of the row, safest first. `critical` is of
    `critical_score`, which depends on no label.
    """
    certified = None
    for index, (lost, won) in enumerate(zip(worse, better, strict=True)):
        if paired_score(lost, won, labels, margin) > critical:
            break
        certified = index
    place = certified or 0
    difference = worse[place] - better[place] if worse else 0
    bound = margin if certified is not None else 1.0
    return Certificate(certified, labels, difference, bound, None)


def paired_score(worse: float, better: float, labels: int, margin: float) -> float:
    """How many standard errors the difference lies above the margin (below: negative); the
    spread is that of a difference which is the margin."""
    if labels == 0:
        return inf
    rate = _rate_at_margin(worse, better, labels, margin)
    spread = labels * (2.0 * rate + margin * (1.0 - margin))
    return (worse - better - labels * margin) / sqrt(spread)


def critical_score(labels: int, margin: float, delta: float) -> float:
    """The highest score that refutes the claim with probability at most delta while it holds.

    0.1 s at 3,000 labels. Raises ValueError where `margin` is not above 0 and below 1.
    """
    labels = min(labels, LABELS_MAX)
    if not 0.0 < margin < 1.0:
        raise ValueError(f"a margin lies between 0 and 1, not at {margin}")
    critical = NormalDist().inv_cdf(delta)
    rates = [(1.0 - margin) / 2.0 * (step / RATES) ** 2 for step in range(RATES)]
    for rate in rates:
        for _ in range(STEPS_MAX):
            if size_of(critical, labels, margin, rate) <= delta:
                break
            critical -= STEP
        else:
            return -inf
    return critical


def size_of(critical: float, labels: int, margin: float, rate: float) -> float:
    """P(score <= critical) where `better` comes with `rate` and `worse` with `rate + margin`."""
    middle, spread = labels * rate, sqrt(labels * rate * (1.0 - rate))
    first = max(0, int(middle - REACH * spread - REACH))
    last = min(labels, int(middle + REACH * spread + REACH)) if rate > 0.0 else 0
    share = (rate + margin) / (1.0 - rate)
    most = _most_worse(critical, first, labels, margin)
    total = 0.0
    for better in range(first, last + 1):
        while most < labels - better and _refutes(critical, most + 1, better, labels, margin):
            most += 1
        chance = _binomial(better, labels, rate)
        if most >= 0 and chance > 0.0:
            total += chance * _tail(min(most, labels - better), labels - better, share)
    return total


def _most_worse(critical: float, better: int, labels: int, margin: float) -> int:
    """The most `worse` that still refutes beside `better`; -1: none does."""
    low, high = -1, labels - better
    while low < high:
        middle = (low + high + 1) // 2
        if _refutes(critical, middle, better, labels, margin):
            low = middle
        else:
            high = middle - 1
    return low


def _refutes(critical: float, worse: int, better: int, labels: int, margin: float) -> bool:
    return paired_score(worse, better, labels, margin) <= critical


def _rate_at_margin(worse: float, better: float, labels: int, margin: float) -> float:
    """The likeliest rate of `better` among those that make the difference the margin."""
    linear = (2 * labels - worse + better) * margin - worse - better
    root = sqrt(max(0.0, linear * linear + 8.0 * labels * better * margin * (1.0 - margin)))
    return max(0.0, root - linear) / (4.0 * labels)


def _binomial(count: int, labels: int, rate: float) -> float:
    """P(exactly `count` of `labels`)."""
    if rate <= 0.0:
        return float(count == 0)
    ways = lgamma(labels + 1) - lgamma(count + 1) - lgamma(labels - count + 1)
    return exp(ways + count * log(rate) + (labels - count) * log1p(-rate))


def _tail(most: int, labels: int, share: float) -> float:
    """P(at most `most` of `labels`), summed from above; what lies beyond REACH is left out."""
    if share >= 1.0:
        return float(most >= labels)
    middle, spread = labels * share, sqrt(labels * share * (1.0 - share))
    if most >= middle + REACH * spread + REACH:
        return 1.0
    least = max(0, int(middle - REACH * spread - REACH))
    term = _binomial(most, labels, share)
    odds = (1.0 - share) / share
    total = term
    for count in range(most, least, -1):
        term *= count / (labels - count + 1) * odds
        total += term
    return min(1.0, total)
