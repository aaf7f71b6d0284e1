"""A latency promise over measured tails: kept, and cheaper than the lowest quantile."""

import pytest

from benchmarks.outcomes import DATA
from benchmarks.routing_latency import Asked, routed, table
from policies.words import LatencyLimit

TAILS = {
    "replicate_13b": [(5.0, 0.05)] * 9 + [(40.0, 0.05)],
    "fireworks_13b": [(0.5, 0.02)] * 19 + [(9.0, 0.02)],
    "anyscale_13b": [(0.2, 0.007)],
}


def asked(count: int) -> list[Asked]:
    return [Asked(number * 0.2, 500, 100) for number in range(count)]


def test_the_cheapest_endpoint_in_time_is_taken() -> None:
    limit = LatencyLimit(0.90, 3.0)
    cheap = routed("", asked(5000), TAILS, limit)
    fast = routed("", asked(5000), TAILS, limit, prefer="fastest")
    assert 0.90 <= cheap.within < 1.0
    assert cheap.usd_per_1k < fast.usd_per_1k


@pytest.mark.skipif(
    not DATA.parent.is_dir(), reason="no ../shared beside this project: no traces to replay"
)
def test_promises_are_kept_on_the_trace() -> None:
    for limit, rows in table(count=1500):
        assert rows[0].within >= limit.quantile - 0.02, limit
