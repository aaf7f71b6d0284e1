"""Costs are divided by what was answered, and ratios taken round by round."""

import msgspec
import pytest

from benchmarks.load import LoadGenerator, LoadResult, Quantiles, Scenario
from benchmarks.measure import Sample, Spread, added_us, measure, ratios
from benchmarks.servers import Server


def sample(server: str, *, worker_us: float, p50_us: float = 100.0, events: int = 0) -> Sample:
    """A sample of 10 answers."""
    wait = Quantiles(10, p50_us, p50_us, p50_us, p50_us, p50_us, p50_us)
    counts = dict.fromkeys(
        [field.name for field in msgspec.structs.fields(LoadResult) if field.type is int], 0
    )
    counts |= {"sent": 10, "answered": 10, "right": 10, "events": events}
    load = LoadResult(seconds=1.0, own_cpu_us=0.0, latency_us=wait, first_byte_us=wait, **counts)
    return Sample(
        server=server,
        scenario="open",
        load=load,
        cpu_us={"worker": worker_us, "keeper": 50.0},
        upstream_cpu_us=0.0,
        is_settled=True,
    )


def test_cost_is_per_answer_or_per_event() -> None:
    assert sample("nginx", worker_us=200.0).worker_cpu_us == 20.0
    assert sample("nginx", worker_us=200.0, events=100).worker_cpu_us == 2.0
    assert sample("nginx", worker_us=200.0).tree_cpu_us == 25.0
    assert sample("nginx", worker_us=200.0, events=100).keeper_cpu_us == 5.0


def test_ratios_compare_within_a_round() -> None:
    samples = [
        sample("nginx", worker_us=100.0),
        sample("pointsman", worker_us=200.0),
        sample("nginx", worker_us=300.0),
        sample("pointsman", worker_us=900.0),
    ]
    found = ratios(samples, server="pointsman", to="nginx", scenario="open")
    assert found == Spread(median=2.5, low=2.0, high=3.0)
    assert ratios(samples, server="pointsman", to="nginx", scenario="closed") is None


def test_added_latency_is_the_difference_of_quantiles() -> None:
    samples = [
        sample("nginx", worker_us=1.0, p50_us=100.0),
        sample("pointsman", worker_us=1.0, p50_us=150.0),
    ]
    found = added_us(samples, quantile="p50", over="nginx", scenario="open")
    assert found == Spread(median=50.0, low=50.0, high=50.0)
    assert added_us(samples, quantile="p50", over="direct", scenario="open") is None


def test_a_direct_load_has_no_proxy_to_charge(generator: LoadGenerator, upstream: Server) -> None:
    scenario = Scenario("closed", "", 200, connections=4)
    direct = measure(generator, upstream, scenario, upstream=upstream)
    assert direct.cpu_us == {}
    assert direct.load.right == 200
    assert 0 < direct.load_side_cpu_us < 1000


def test_a_spread_needs_a_value() -> None:
    with pytest.raises(ValueError, match="no median"):
        Spread.of([])
