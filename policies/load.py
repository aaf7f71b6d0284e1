"""What a backend's load does to its times, learned: the same request takes longer beside others.

Times are kept by how much the backend was serving when an attempt began, in powers of two, as
each worker sees its own share of it. What is predicted of a task or a size is stretched by how
the median at today's load compares with the one over all loads. A load that was never seen takes
the next lower one that was: nothing is extrapolated.
"""

import msgspec

from .cell import HALF_LIFE_S, HALF_LIFE_SAMPLES, Sample
from .sketch import WEIGHT_MAX, Decay, Sketch
from .words import Clock

BUCKET_MAX = 16  # 32,768 at once and more
SAMPLES_MIN = 20
"""Of one load and clock; as many as replace `expect:`."""


class LoadTimes(msgspec.Struct, array_like=True):
    """Times at one load, decayed as all are."""

    decay: Decay = msgspec.field(default_factory=Decay)
    first_token_s: Sketch = msgspec.field(default_factory=Sketch)
    total_s: Sketch = msgspec.field(default_factory=Sketch)

    def observe(self, sample: Sample, now_s: float) -> None:
        """Count one attempt that ended at `now_s`."""
        weight = self.decay.next_weight(
            now_s, half_life_s=HALF_LIFE_S, half_life_samples=HALF_LIFE_SAMPLES
        )
        if weight > WEIGHT_MAX:
            self.first_token_s.scale(1.0 / weight)
            self.total_s.scale(1.0 / weight)
            self.decay.weight = weight = 1.0
        if sample.first_token_bucket is not None:
            self.first_token_s.add_bucket(sample.first_token_bucket, weight)
        if sample.total_bucket is not None:
            self.total_s.add_bucket(sample.total_bucket, weight)

    def of(self, clock: Clock) -> Sketch:
        """The times of one clock."""
        return self.first_token_s if clock == "first_token" else self.total_s


Loads = dict[int, LoadTimes]
"""By `load_bucket`."""


def load_bucket(served_at_once: int) -> int:
    """1 alone, 2 for two or three at once, 3 up to seven, and so on."""
    return min(max(1, served_at_once).bit_length(), BUCKET_MAX)


def observe_load(loads: Loads, served_at_once: int, sample: Sample, now_s: float) -> None:
    """Count one attempt that began beside so many, itself included."""
    bucket = load_bucket(served_at_once)
    times = loads.get(bucket)
    if times is None:
        times = loads[bucket] = LoadTimes()
    times.observe(sample, now_s)


def stretch(loads: Loads, clock: Clock, bucket: int, usual: Sketch | None) -> float:
    """By what a time is longer at this load than over all; 1 where that is not known."""
    if usual is None or usual.count < SAMPLES_MIN:
        return 1.0
    for lower in range(bucket, 0, -1):
        times = loads.get(lower)
        if times is not None and times.of(clock).count >= SAMPLES_MIN:
            now_s, usual_s = times.of(clock).quantile(0.5), usual.quantile(0.5)
            return now_s / usual_s if now_s and usual_s else 1.0
    return 1.0
