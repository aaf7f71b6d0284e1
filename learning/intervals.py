"""The statistics of a benchmark: intervals, paired tests, how many more samples. Pure.

    wilson          share of errors (E. B. Wilson 1927)
    bootstrap       quantiles and means, resampled by conversation (Efron 1979), percentile interval
    mcnemar         two backends on the same questions, exact (McNemar 1947)
    holm            several such tests at once (Holm 1979)
    samples_needed  when a share's interval will clear a limit

No interval is compared with another by eye: two backends are compared by a paired test.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from statistics import NormalDist
from typing import Final, NamedTuple

RESAMPLES: Final = 2000
CONFIDENCE: Final = 0.95
SAMPLES_MAX: Final = 10_000_000
EXACT_PAIRS_MAX: Final = 10_000  # beyond, the exact test sums numbers of thousands of digits


class Interval(NamedTuple):
    """`value` with its bounds, or nothing at all where there were no samples."""

    value: float
    low: float
    high: float


def wilson(failures: float, total: float, confidence: float = CONFIDENCE) -> Interval:
    """The share `failures / total`; `total` > 0."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = failures / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return Interval(share, max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def samples_needed(share: float, limit: float, confidence: float = CONFIDENCE) -> int | None:
    """The smallest n at which the interval around `share` lies wholly on one side of `limit`.

    None where the share is the limit, so no number would do, or where it is above SAMPLES_MAX.
    """
    if math.isclose(share, limit):
        return None

    def clears(n: int) -> bool:
        interval = wilson(share * n, n, confidence)
        return interval.high <= limit if share < limit else interval.low > limit

    if not clears(SAMPLES_MAX):
        return None
    low, high = 1, SAMPLES_MAX
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if clears(middle) else (middle + 1, high)
    return low


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of sorted values; the smallest that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def bootstrap(
    clusters: Sequence[Sequence[float]],
    statistic: Callable[[list[float]], float],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """`statistic` of all values, its interval by drawing whole clusters; at least one value."""
    value = statistic(list(chain.from_iterable(clusters)))
    drawn = sorted(map(statistic, _resamples(clusters, seed, resamples)))
    tail = (1 - confidence) / 2
    return Interval(value, quantile(drawn, tail), quantile(drawn, 1 - tail))


def bootstrap_quantile(
    clusters: Sequence[Sequence[float]], share: float, *, seed: int, resamples: int = RESAMPLES
) -> Interval:
    """A quantile of all values."""
    return bootstrap(
        clusters, lambda values: quantile(sorted(values), share), seed=seed, resamples=resamples
    )


def bootstrap_mean(
    clusters: Sequence[Sequence[float]], *, seed: int, resamples: int = RESAMPLES
) -> Interval:
    """The mean of all values."""
    return bootstrap(
        clusters, lambda values: math.fsum(values) / len(values), seed=seed, resamples=resamples
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value that neither of two backends errs more, from the discordant pairs."""
    pairs = only_first + only_second
    if pairs == 0:
        return 1.0
    if pairs > EXACT_PAIRS_MAX:
        z = (abs(only_first - only_second) - 1) / math.sqrt(pairs)
        return 2 * (1 - NormalDist().cdf(max(0.0, z)))
    fewer = min(only_first, only_second)
    tail = sum(math.comb(pairs, k) for k in range(fewer + 1))
    p_value: float = 2 * tail / 2**pairs
    return min(1.0, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for how many there are, in the same order."""
    adjusted = [1.0] * len(p_values)
    worst = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def _resamples(
    clusters: Sequence[Sequence[float]], seed: int, resamples: int
) -> Iterator[list[float]]:
    draw = random.Random(seed)
    for _ in range(resamples):
        yield list(chain.from_iterable(draw.choices(clusters, k=len(clusters))))
