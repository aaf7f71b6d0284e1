"""Decayed statistics in constant memory: a quantile sketch on logarithmic buckets, and a mean.

Both take each sample with a weight; forgetting is done by letting the weights of new samples
grow (`Decay`), so that nothing already counted has to be touched and a silent hour forgets
nothing. Any quantile is within 2.5 % of the true one (a bucket is 5 % wide).
"""

import math

import msgspec

BUCKET_RATIO = 1.05
VALUE_MIN = 1e-5  # 10 us, or a hundred-thousandth of a token: below is the same bucket
VALUE_MAX = 1e7  # 566 buckets at most: 4 KB written, whatever was observed
WEIGHT_MAX = 1e12  # the sums are scaled down beyond it, far from a float's end

GAP_S = 60.0
GAP_INTERVALS = 20.0
"""Nothing for so long, and for so many times the usual wait: it was left alone."""
GAP_HALVINGS = 3.0

_LOG_RATIO = math.log(BUCKET_RATIO)


class Decay(msgspec.Struct, array_like=True):
    """The weight of the next sample.

    A sample's influence halves in `half_life_s`, but never faster than within
    `half_life_samples`: a route with one request a minute still remembers enough for a tail.
    Whoever was left alone for a while, as after an outage, may be another by now: the first
    samples after that count eightfold, so that a handful of them tells.
    """

    weight: float = 1.0
    at_s: float | None = None
    interval_s: float = 0.0
    """Usual wait for the next sample, decayed; 0 before there were two."""

    def next_weight(self, now_s: float, *, half_life_s: float, half_life_samples: float) -> float:
        """Move to `now_s` and return the weight of a sample taken then."""
        if self.at_s is None:
            self.at_s = now_s
        elif now_s > self.at_s:  # no `min` and `max`: three cells a record, half the time
            passed_s = now_s - self.at_s
            halvings, most = passed_s / half_life_s, 1.0 / half_life_samples
            if passed_s > GAP_S and 0.0 < self.interval_s * GAP_INTERVALS < passed_s:
                halvings = most = GAP_HALVINGS  # and the wait says nothing of the usual one
            else:
                self.interval_s += (passed_s - self.interval_s) / half_life_samples
            self.weight *= 2.0 ** (halvings if halvings < most else most)
            self.at_s = now_s
        return self.weight


class Mean(msgspec.Struct, array_like=True):
    """A weighted mean. `count` is of samples, not decayed."""

    count: int = 0
    weight: float = 0.0
    total: float = 0.0

    def add(self, value: float, weight: float) -> None:
        """Count one sample."""
        self.count += 1
        self.weight += weight
        self.total += value * weight

    def scale(self, factor: float) -> None:
        """Multiply all weights; the mean stays."""
        self.weight *= factor
        self.total *= factor

    @property
    def value(self) -> float | None:
        """The mean, or None without samples."""
        return self.total / self.weight if self.weight > 0 else None


class Sketch(msgspec.Struct, array_like=True):
    """Weighted counts of positive values, by bucket. `count` is of samples, not decayed."""

    count: int = 0
    weight: float = 0.0
    buckets: dict[int, float] = {}

    def add(self, value: float, weight: float) -> None:
        """Count one sample; values outside the range go to its ends."""
        self.add_bucket(bucket_of(value), weight)

    def add_bucket(self, index: int, weight: float) -> None:
        """Count one sample whose bucket is known, as where several sketches take the same one."""
        self.count += 1
        self.weight += weight
        self.buckets[index] = self.buckets.get(index, 0.0) + weight

    def scale(self, factor: float) -> None:
        """Multiply all weights; the quantiles stay."""
        self.weight *= factor
        self.buckets = {index: weight * factor for index, weight in self.buckets.items()}

    def quantile(self, quantile: float) -> float | None:
        """The value that this share of samples does not exceed; None without samples."""
        if not self.buckets:
            return None
        rank = quantile * self.weight
        seen = 0.0
        last = 0
        for last in sorted(self.buckets):
            weight = self.buckets[last]
            if seen + weight >= rank:
                return float(_lower_edge(last) * BUCKET_RATIO ** ((rank - seen) / weight))
            seen += weight
        return _lower_edge(last + 1)

    def share_within(self, limit: float) -> float | None:
        """The share of samples at or below `limit`; None without samples."""
        if not self.buckets:
            return None
        edge = bucket_of(limit)
        below = sum(weight for index, weight in self.buckets.items() if index < edge)
        inside = self.buckets.get(edge, 0.0)
        if inside and limit > 0:
            part = math.log(limit / _lower_edge(edge)) / _LOG_RATIO
            below += inside * min(1.0, max(0.0, part))
        return min(1.0, below / self.weight)

    def points(self, count: int) -> tuple[float, ...]:
        """`count` quantiles at equal distances, standing for the whole; empty without samples."""
        found = (self.quantile((index + 0.5) / count) for index in range(count))
        return tuple(value for value in found if value is not None)


def bucket_of(value: float) -> int:
    """The bucket a value falls into."""
    bounded = min(max(value, VALUE_MIN), VALUE_MAX)
    return math.floor(math.log(bounded / VALUE_MIN) / _LOG_RATIO)


def _lower_edge(index: int) -> float:
    return VALUE_MIN * BUCKET_RATIO**index
