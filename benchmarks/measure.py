"""One measurement: send a load, read the CPU time of the processes before and after.

Rounds alternate between the servers, so that a machine that drifts drifts for all of them, and a
ratio is taken within its round before the median over rounds.
"""

import statistics
import time
from collections.abc import Sequence

import msgspec

from . import processes
from .load import LoadGenerator, LoadResult, Scenario
from .servers import Server

TAIL_S = 0.15  # after the last answer: background syncs and closing connections belong to the load
IDLE_SHARE = 0.03  # a keeper below this share of a core has folded what there was
IDLE_WINDOW_S = 1.2  # longer than the pause between two folds
SETTLE_TIMEOUT_S = 120.0


class Sample(msgspec.Struct, frozen=True):
    """One load on one server. `cpu_us` is by role and for the whole load, not per request."""

    server: str
    scenario: str
    load: LoadResult
    cpu_us: dict[str, float]
    upstream_cpu_us: float
    is_settled: bool

    @property
    def units(self) -> int:
        """What costs are divided by: SSE events of streams, else answers."""
        return max(1, self.load.events or self.load.answered)

    @property
    def worker_cpu_us(self) -> float:
        """CPU of the serving process per unit."""
        return self.cpu_us.get("worker", 0.0) / self.units

    @property
    def tree_cpu_us(self) -> float:
        """CPU of all the server's processes per unit."""
        return sum(self.cpu_us.values()) / self.units

    @property
    def keeper_cpu_us(self) -> float:
        """CPU of the keeper per answered request, that is per record."""
        return self.cpu_us.get("keeper", 0.0) / max(1, self.load.answered)

    @property
    def load_side_cpu_us(self) -> float:
        """CPU of load generator and upstream per unit."""
        return (self.load.own_cpu_us + self.upstream_cpu_us) / self.units


class Spread(msgspec.Struct, frozen=True):
    """The median of some runs, and how far they lay apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Raises statistics.StatisticsError without any value."""
        return cls(median=statistics.median(values), low=min(values), high=max(values))


def measure(
    generator: LoadGenerator, server: Server, scenario: Scenario, *, upstream: Server
) -> Sample:
    """Sends one load and returns what it cost."""
    upstream_before = processes.cpu_us(upstream.pid)
    before = processes.cpu_by_role(server.pid)
    load = generator.run(scenario, port=server.stream_port if scenario.is_stream else server.port)
    time.sleep(TAIL_S)
    upstream_after = processes.cpu_us(upstream.pid)
    after = processes.cpu_by_role(server.pid)
    is_settled = True
    for keeper in processes.pids_by_role(server.pid, "keeper"):
        is_settled = settle(keeper)
        after["keeper"] = processes.cpu_us(keeper)
    is_proxy = server.pid != upstream.pid
    return Sample(
        server=server.name,
        scenario=scenario.name,
        load=load,
        cpu_us={name: total - before.get(name, 0.0) for name, total in after.items()}
        if is_proxy
        else {},
        upstream_cpu_us=upstream_after - upstream_before,
        is_settled=is_settled,
    )


def settle(pid: int) -> bool:
    """Waits until a process is as good as idle; False when it never was."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while time.monotonic() < deadline:
        if busy_share(pid, IDLE_WINDOW_S) < IDLE_SHARE:
            return True
    return False


def busy_share(pid: int, window_s: float) -> float:
    """The share of one core a process has over the next so many seconds."""
    before = processes.cpu_us(pid)
    time.sleep(window_s)
    return (processes.cpu_us(pid) - before) / (window_s * 1e6)


def select(samples: Sequence[Sample], *, server: str, scenario: str) -> list[Sample]:
    """The samples of one server under one load, in order of the rounds."""
    return [s for s in samples if s.server == server and s.scenario == scenario]


def ratios(samples: Sequence[Sample], *, server: str, to: str, scenario: str) -> Spread | None:
    """Worker CPU per unit of one server over another's, round by round."""
    pairs = zip(
        select(samples, server=server, scenario=scenario),
        select(samples, server=to, scenario=scenario),
        strict=False,
    )
    found = [mine.worker_cpu_us / other.worker_cpu_us for mine, other in pairs if other.cpu_us]
    return Spread.of(found) if found else None


def added_us(
    samples: Sequence[Sample], *, quantile: str, over: str, scenario: str
) -> Spread | None:
    """What pointsman adds to a latency quantile (`p50`, `p99`) over another, round by round."""
    pairs = zip(
        select(samples, server="pointsman", scenario=scenario),
        select(samples, server=over, scenario=scenario),
        strict=False,
    )
    found = [
        getattr(mine.load.latency_us, quantile) - getattr(other.load.latency_us, quantile)
        for mine, other in pairs
    ]
    return Spread.of(found) if found else None
