"""A run's results: what they are, which goals they meet, and how they are shown."""

from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from .captured import Readback
from .load import Scenario
from .machine import Machine, Surroundings
from .measure import Sample, Spread, added_us, ratios, select
from .processes import Memory

SERVERS = ("direct", "nginx", "pointsman")


class Resting(msgspec.Struct, frozen=True):
    """pointsman before any load, started on all cores as a user starts it."""

    ready_s: list[float]
    worker: Memory
    keeper: Memory | None
    worker_busy_share: float  # of one core, idle
    keeper_busy_share: float


class Results(msgspec.Struct, frozen=True):
    """Everything a run found."""

    machine: Machine
    samples: list[Sample]
    surroundings: Surroundings
    resting: Resting | None = None
    worker_after: Memory | None = None
    fold_us: float | None = None
    """CPU of the fold alone, per record."""
    readback: Readback | None = None
    missing: list[str] = []


class Goal(msgspec.Struct, frozen=True):
    """A figure against its goal; `value` is None when it was not measured, which is no verdict."""

    name: str
    value: float | None
    limit: float
    unit: str

    @property
    def is_missed(self) -> bool:
        """Whether it was measured and lies above the goal."""
        return self.value is not None and self.value > self.limit

    @property
    def verdict(self) -> str:
        """For people."""
        if self.value is None:
            return "not measured"
        return "[red]missed[/]" if self.is_missed else "[green]met[/]"


def goals(results: Results) -> list[Goal]:
    """The goals of the first benchmark, each with what this run found."""
    samples = results.samples

    def ratio(scenario: str) -> float | None:
        return _median(ratios(samples, server="pointsman", to="nginx", scenario=scenario))

    added = _median(added_us(samples, quantile="p50", over="nginx", scenario="open"))
    resting = results.resting
    idle_mb = resting.worker.rss_mb if resting else None
    ready_s = Spread.of(resting.ready_s).median if resting else None
    return [
        Goal("worker CPU per request, of nginx", ratio("closed"), 2.5, "x"),
        Goal("worker CPU per chunk at 3,200/s, of nginx", ratio("stream"), 1.3, "x"),
        Goal("worker CPU per chunk at 32,000/s, of nginx", ratio("stream-fast"), 1.3, "x"),
        Goal("worker CPU per chunk, usage hidden, of nginx", ratio("stream-hidden"), 1.3, "x"),
        Goal("fold CPU per record, alone", results.fold_us, 30.0, "us"),
        Goal("added p50 at 500/s over nginx", None if added is None else added / 1e3, 0.3, "ms"),
        Goal("idle worker, RSS", idle_mb, 45.0, "MB"),
        Goal("ready", ready_s, 1.0, "s"),
    ]


def show(console: Console, results: Results, scenarios: Sequence[Scenario]) -> None:
    """Prints the whole run."""
    for scenario in scenarios:
        _show_scenario(console, results.samples, scenario)
    _show_added(console, results.samples)
    _show_resting(console, results)
    if results.readback is not None:
        console.print(f"read back: {results.readback}")
    for reason in results.missing:
        console.print(f"[yellow]not measured:[/] {reason}")
    for line in results.machine.lines():
        console.print(line, highlight=False)
    console.print(results.surroundings.line(), highlight=False)


def show_goals(console: Console, results: Results) -> bool:
    """Prints each goal as met or missed; True when none is missed."""
    table = Table(title="goals", title_justify="left")
    for name in ("figure", "measured", "goal", ""):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for goal in goals(results):
        value = "-" if goal.value is None else f"{goal.value:.2f} {goal.unit}"
        table.add_row(goal.name, value, f"<= {goal.limit:g} {goal.unit}", goal.verdict)
    console.print(table)
    return not any(goal.is_missed for goal in goals(results))


def _show_scenario(console: Console, samples: Sequence[Sample], scenario: Scenario) -> None:
    unit = "chunk" if scenario.is_stream else "request"
    table = Table(title=f"{scenario.name}: {scenario.title}", title_justify="left")
    table.add_column("server")
    for heading in (
        f"worker CPU us/{unit}",
        "x nginx",
        f"all its CPU us/{unit}",
        "keeper us/record",
        f"{unit}s/s",
        "first byte p50 us" if scenario.is_stream else "p50 us",
        "p90",
        "p99",
        "p99.9",
        "errors",
        f"load side us/{unit}",
    ):
        table.add_column(heading, justify="right")
    for server in SERVERS:
        found = select(samples, server=server, scenario=scenario.name)
        if found:
            ratio = ratios(samples, server=server, to="nginx", scenario=scenario.name)
            table.add_row(*_cells(found, None if server == "direct" else ratio))
    if table.row_count:
        console.print(table)


def _cells(found: Sequence[Sample], ratio: Spread | None) -> list[str]:
    is_proxy = bool(found[0].cpu_us)
    has_keeper = any("keeper" in sample.cpu_us for sample in found)
    waits = [s.load.first_byte_us if s.load.events else s.load.latency_us for s in found]
    return [
        found[0].server,
        _spread([s.worker_cpu_us for s in found]) if is_proxy else "-",
        _format(ratio, 2) if ratio else "-",
        _spread([s.tree_cpu_us for s in found]) if is_proxy else "-",
        _spread([s.keeper_cpu_us for s in found]) if has_keeper else "-",
        f"{Spread.of([s.units / s.load.seconds for s in found]).median:,.0f}",
        _spread([wait.p50 for wait in waits], 0),
        f"{Spread.of([wait.p90 for wait in waits]).median:,.0f}",
        _spread([wait.p99 for wait in waits], 0),
        f"{Spread.of([wait.p999 for wait in waits]).median:,.0f}",
        str(sum(s.load.errors + s.load.unsent for s in found)),
        f"{Spread.of([s.load_side_cpu_us for s in found]).median:.1f}",
    ]


def _show_added(console: Console, samples: Sequence[Sample]) -> None:
    for over in ("nginx", "direct"):
        parts = [
            f"{quantile} {_format(spread, 0)} us"
            for quantile in ("p50", "p99")
            if (spread := added_us(samples, quantile=quantile, over=over, scenario="open"))
        ]
        if parts:
            console.print(f"added by pointsman at 500/s over {over}: {', '.join(parts)}")


def _show_resting(console: Console, results: Results) -> None:
    resting = results.resting
    if resting is None:
        return
    console.print(
        f"ready after {_format(Spread.of(resting.ready_s), 2)} s (spawn to ready line); "
        f"idle worker {resting.worker.rss_mb:.1f} MB RSS, {resting.worker.pss_mb:.1f} MB PSS, "
        f"{resting.worker_busy_share:.2%} of a core"
    )
    if resting.keeper is not None:
        console.print(
            f"idle keeper {resting.keeper.rss_mb:.1f} MB RSS, {resting.keeper.pss_mb:.1f} MB PSS, "
            f"{resting.keeper_busy_share:.2%} of a core"
        )
    if results.worker_after is not None:
        after = results.worker_after
        console.print(f"worker after the load {after.rss_mb:.1f} MB RSS, {after.pss_mb:.1f} MB PSS")


def _spread(values: Sequence[float], digits: int = 1) -> str:
    return _format(Spread.of(values), digits)


def _format(spread: Spread, digits: int) -> str:
    if spread.low == spread.high:
        return f"{spread.median:,.{digits}f}"
    return f"{spread.median:,.{digits}f} ({spread.low:,.{digits}f}-{spread.high:,.{digits}f})"


def _median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median
