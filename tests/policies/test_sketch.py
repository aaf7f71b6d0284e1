import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.sketch import BUCKET_RATIO, Decay, Mean, Sketch, bucket_of

VALUES = st.lists(st.floats(min_value=1e-4, max_value=1e4), min_size=1, max_size=50)
SHARE = st.floats(min_value=0.01, max_value=0.99)


def sketch_of(values, weight=1.0):
    sketch = Sketch()
    for value in values:
        sketch.add(value, weight)
    return sketch


@given(VALUES, SHARE)
def test_quantile_is_within_a_bucket_of_the_true_one(values, share):
    ordered, rank = sorted(values), share * len(values)
    low = ordered[max(0, math.ceil(rank - 1e-6) - 1)]  # on the edge of a step both are right
    high = ordered[min(len(values), math.ceil(rank + 1e-6)) - 1]
    found = sketch_of(values).quantile(share)
    assert low / BUCKET_RATIO * 0.999 <= found <= high * BUCKET_RATIO * 1.001


@given(VALUES, st.floats(min_value=1e-4, max_value=1e4))
def test_share_within_lies_between_the_shares_a_bucket_away(values, limit):
    def share(edge):
        return sum(value <= edge for value in values) / len(values)

    found = sketch_of(values).share_within(limit)
    assert share(limit / BUCKET_RATIO) - 1e-6 <= found <= share(limit * BUCKET_RATIO) + 1e-6


@given(VALUES, st.lists(SHARE, min_size=2, max_size=2))
def test_quantiles_grow_with_the_share(values, shares):
    low, high = sorted(shares)
    sketch = sketch_of(values)
    assert sketch.quantile(low) <= sketch.quantile(high)


@given(VALUES, SHARE, st.integers(min_value=-40, max_value=40).map(lambda power: 2.0**power))
def test_scaling_the_weights_changes_no_answer(values, share, factor):
    sketch = sketch_of(values)
    before = sketch.quantile(share), sketch.share_within(1.0)
    sketch.scale(factor)
    assert (sketch.quantile(share), sketch.share_within(1.0)) == pytest.approx(before)


def test_nothing_is_known_without_samples():
    assert Sketch().quantile(0.5) is None
    assert Sketch().share_within(1.0) is None
    assert Sketch().points(3) == ()
    assert Mean().value is None


def test_values_out_of_range_go_to_the_ends():
    sketch = sketch_of([0.0, -1.0, math.inf])
    assert len(sketch.buckets) == 2
    assert sketch.quantile(0.5) < 1e-4
    assert sketch.quantile(0.99) > 1e6


def test_points_stand_for_the_whole():
    sketch = sketch_of([1 + number / 1000 for number in range(1000)])
    assert len(sketch.points(5)) == 5
    assert sum(sketch.points(5)) / 5 == pytest.approx(1.5, rel=0.05)


def test_adding_by_bucket_is_adding():
    by_value, by_bucket = sketch_of([0.2, 3.0]), Sketch()
    for value in (0.2, 3.0):
        by_bucket.add_bucket(bucket_of(value), 1.0)
    assert by_value == by_bucket


def test_number_of_buckets_is_bounded():
    sketch = sketch_of(10 ** (power / 100) for power in range(-2000, 2000))
    assert len(sketch.buckets) <= 567


def test_mean_is_weighted():
    mean = Mean()
    mean.add(1.0, 1.0)
    mean.add(4.0, 3.0)
    assert mean.value == pytest.approx(3.25)
    mean.scale(0.1)
    assert mean.value == pytest.approx(3.25)
    assert mean.count == 2


def test_statistics_survive_being_written():
    sketch = sketch_of([0.1, 0.2])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sketch), type=Sketch) == sketch


# -- decay ---------------------------------------------------------------------------------------

HALVE = {"half_life_s": 10.0, "half_life_samples": 1.0}


def test_a_sample_counts_half_after_the_half_life():
    decay = Decay()
    first = decay.next_weight(100.0, **HALVE)
    assert decay.next_weight(110.0, **HALVE) == pytest.approx(2 * first)


def test_forgets_no_faster_than_so_many_samples():
    decay = Decay()
    decay.next_weight(0.0, **HALVE)
    assert decay.next_weight(1e9, **HALVE) == pytest.approx(2.0)


def test_a_clock_set_back_forgets_nothing():
    decay = Decay()
    decay.next_weight(100.0, **HALVE)
    assert decay.next_weight(50.0, **HALVE) == 1.0
    assert decay.next_weight(100.0, **HALVE) == 1.0
