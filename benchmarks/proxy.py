"""`python -m benchmarks.proxy`: what pointsman costs per request, beside nginx and no proxy at all.

Upstream and load generator (both in C) share one core; the proxy has another to itself, its keeper
included but measured apart. Everything stays on 127.0.0.1 and in a temporary directory. Afterwards
the captures are read back and compared with the answers.

    python -m benchmarks.proxy                 # three rounds, about four minutes
    python -m benchmarks.proxy --quick         # one short round, to see that it works
    python -m benchmarks.proxy --only closed --only open --check
"""

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
from rich.console import Console

from . import machine, processes, servers
from .captured import Readback, read_back
from .fold import fold_alone
from .load import LoadGenerator, Scenario, scenarios
from .measure import Sample, busy_share, measure
from .programs import MissingProgram, Programs, build_programs, fetch_nginx
from .report import Resting, Results, show, show_goals

STARTS = 3
REST_S = 1.0
WARMUP_REQUESTS = 4_000
FOLD_RECORDS = 40_000
QUICK_FOLD_RECORDS = 2_000
SCENARIO_NAMES = [scenario.name for scenario in scenarios(quick=True)]


class Plan(msgspec.Struct, frozen=True):
    """What to measure, and where each side runs (None: wherever the kernel likes)."""

    scenarios: list[Scenario]
    rounds: int
    starts: int
    pointsman: Path | None
    durability: str
    with_nginx: bool
    load_core: int | None
    proxy_core: int | None


class Run:
    """One run: holds the servers open and gathers what is measured."""

    def __init__(self, plan: Plan, *, programs: Programs, directory: Path, console: Console):
        self._plan = plan
        self._programs = programs
        self._directory = directory
        self._console = console
        self._samples: list[Sample] = []
        self._missing: list[str] = []
        self._answered = 0

    def measure_all(self) -> Results:
        """Starts everything, sends every load, reads the captures back."""
        clock = machine.read_clock()
        with ExitStack() as stack:
            upstream = stack.enter_context(
                servers.upstream(
                    self._programs, directory=self._directory, core=self._plan.load_core
                )
            )
            generator = LoadGenerator(
                self._programs,
                directory=self._directory,
                core=self._plan.load_core,
                body=servers.expected_body(self._programs),
            )
            resting = self._rest(upstream)
            binary = self._find_nginx()
            measured = [upstream, *self._start_nginx(stack, binary, upstream)]
            pointsman = self._start_pointsman(stack, upstream) if resting else None
            measured += [pointsman] if pointsman else []
            self._rounds(generator, measured, upstream)
            return Results(
                machine=machine.describe(nginx=binary, data_directory=self._directory),
                samples=self._samples,
                surroundings=machine.surroundings(clock, ours=set(processes.tree(os.getpid()))),
                resting=resting,
                worker_after=worker_memory(pointsman) if pointsman else None,
                fold_us=self._fold(is_wanted=pointsman is not None),
                readback=self._read_back(pointsman),
                missing=self._missing,
            )

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{text}[/]", highlight=False)

    def _find_nginx(self) -> Path | None:
        if not self._plan.with_nginx:
            return None
        try:
            return fetch_nginx()
        except MissingProgram as reason:
            self._missing.append(f"nginx: {reason}")
            return None

    def _start_nginx(
        self, stack: ExitStack, binary: Path | None, upstream: servers.Server
    ) -> list[servers.Server]:
        if binary is None:
            return []
        try:
            started = servers.nginx(
                binary,
                upstream_port=upstream.port,
                directory=self._directory,
                core=self._plan.proxy_core,
            )
            return [stack.enter_context(started)]
        except RuntimeError as reason:
            self._missing.append(f"nginx: {reason}")
            return []

    def _start_pointsman(
        self, stack: ExitStack, upstream: servers.Server, *, name: str = "measured"
    ) -> servers.Server | None:
        if self._plan.pointsman is None:
            return None
        started = servers.pointsman(
            self._plan.pointsman,
            upstream_port=upstream.port,
            directory=self._directory / name,
            core=self._plan.proxy_core if name == "measured" else None,
            durability=self._plan.durability,
        )
        try:
            return stack.enter_context(started)
        except (RuntimeError, OSError) as reason:
            self._missing.append(f"pointsman: {reason}")
            return None

    def _rest(self, upstream: servers.Server) -> Resting | None:
        """Starts pointsman a few times, on all cores, and looks at it before any load."""
        ready_s: list[float] = []
        resting: Resting | None = None
        for number in range(self._plan.starts):
            with ExitStack() as stack:
                started = self._start_pointsman(stack, upstream, name=f"start-{number}")
                if started is None:
                    return None
                ready_s.append(started.ready_s)
                if number == self._plan.starts - 1:
                    resting = look_at_rest(started, ready_s)
        return resting

    def _rounds(
        self, generator: LoadGenerator, measured: list[servers.Server], upstream: servers.Server
    ) -> None:
        warmup = scenarios(quick=True)[0]
        warmup = msgspec.structs.replace(warmup, requests=WARMUP_REQUESTS)
        for server in measured:
            self._send(generator, server, warmup, upstream)
        for number in range(self._plan.rounds):
            for scenario in self._plan.scenarios:
                for server in measured:
                    self._say(
                        f"round {number + 1}/{self._plan.rounds}: {scenario.name}, {server.name}"
                    )
                    self._samples.append(self._send(generator, server, scenario, upstream))

    def _send(
        self,
        generator: LoadGenerator,
        server: servers.Server,
        scenario: Scenario,
        upstream: servers.Server,
    ) -> Sample:
        sample = measure(generator, server, scenario, upstream=upstream)
        if server.name == "pointsman":
            self._answered += sample.load.answered
        if sample.load.errors:
            self._missing.append(
                f"{sample.load.errors} wrong answers from {server.name} in {scenario.name}"
            )
        if not sample.is_settled:
            self._missing.append(f"the keeper was still busy long after {scenario.name}")
        return sample

    def _fold(self, *, is_wanted: bool) -> float | None:
        if not is_wanted:
            return None
        self._say("folding alone")
        is_quick = self._plan.rounds == 1
        return fold_alone(
            self._directory,
            records=QUICK_FOLD_RECORDS if is_quick else FOLD_RECORDS,
            rounds=self._plan.rounds,
        )

    def _read_back(self, pointsman: servers.Server | None) -> Readback | None:
        if pointsman is None or pointsman.config is None or self._plan.pointsman is None:
            return None
        self._say("reading the captures back")
        try:
            return read_back(self._plan.pointsman, config=pointsman.config, answered=self._answered)
        except RuntimeError as reason:
            self._missing.append(f"captures: {reason}")
            return None


def worker_memory(server: servers.Server) -> processes.Memory | None:
    """Memory of the (first) worker, None when there is none."""
    workers = processes.pids_by_role(server.pid, "worker")
    return processes.memory(workers[0]) if workers else None


def look_at_rest(server: servers.Server, ready_s: list[float]) -> Resting | None:
    """Memory and idle CPU of a server that has seen no request yet."""
    time.sleep(REST_S)
    worker = worker_memory(server)
    if worker is None:
        return None
    keepers = processes.pids_by_role(server.pid, "keeper")
    return Resting(
        ready_s=ready_s,
        worker=worker,
        keeper=processes.memory(keepers[0]) if keepers else None,
        worker_busy_share=busy_share(processes.pids_by_role(server.pid, "worker")[0], REST_S),
        keeper_busy_share=busy_share(keepers[0], REST_S) if keepers else 0.0,
    )


def pick_cores(*, is_pinned: bool) -> tuple[int | None, int | None]:
    """A core for the load side and one for the proxy; (None, None) where that cannot be."""
    cores = processes.allowed_cores()
    return (cores[0], cores[1]) if is_pinned and len(cores) > 1 else (None, None)


@click.command(help=__doc__, context_settings={"max_content_width": 100})
@click.option("--quick", is_flag=True, help="One short round: shows that it works, not figures.")
@click.option("--only", multiple=True, type=click.Choice(SCENARIO_NAMES), help="Only these loads.")
@click.option("--rounds", type=click.IntRange(1, 20), help="Rounds (3; with --quick 1).")
@click.option("--durability", type=click.Choice(["process", "power"]), default="process")
@click.option(
    "--pointsman",
    "binary",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=servers.POINTSMAN,
    help="The program to measure (this environment's).",
)
@click.option("--without-pointsman", is_flag=True, help="Only the direct and the nginx rows.")
@click.option("--without-nginx", is_flag=True, help="No nginx rows, and no ratios.")
@click.option("--pin/--no-pin", default=True, help="Hold each side to one core (taskset).")
@click.option("--check", is_flag=True, help="Compare with the goals: met or missed.")
@click.option("--gate", is_flag=True, help="As --check, and exit with 1 when a goal is missed.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write a file.")
def main(
    quick: bool,
    only: tuple[str, ...],
    rounds: int | None,
    durability: str,
    binary: Path,
    without_pointsman: bool,
    without_nginx: bool,
    pin: bool,
    check: bool,
    gate: bool,
    json_file: Path | None,
) -> None:
    load_core, proxy_core = pick_cores(is_pinned=pin)
    plan = Plan(
        scenarios=[s for s in scenarios(quick=quick) if not only or s.name in only],
        rounds=rounds or (1 if quick else 3),
        starts=1 if quick else STARTS,
        pointsman=None if without_pointsman else binary.absolute(),
        durability=durability,
        with_nginx=not without_nginx,
        load_core=load_core,
        proxy_core=proxy_core,
    )
    console = Console(width=None if sys.stdout.isatty() else 240)
    results = run(plan, console)
    show(console, results, plan.scenarios)
    is_met = show_goals(console, results) if check or gate else True
    if json_file:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    sys.exit(exit_code(results, plan, is_gated=gate, is_met=is_met))


def run(plan: Plan, console: Console) -> Results:
    """Runs a plan in a temporary directory."""
    try:
        programs = build_programs()
    except MissingProgram as reason:
        raise click.ClickException(str(reason)) from reason
    if plan.load_core is None:
        console.print(
            "[yellow]not pinned: figures include what the two sides take of each other[/]"
        )
    else:
        os.sched_setaffinity(0, {plan.load_core})  # the runner stays off the proxy's core, too
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as directory:
        return Run(
            plan, programs=programs, directory=Path(directory), console=console
        ).measure_all()


def exit_code(results: Results, plan: Plan, *, is_gated: bool, is_met: bool) -> int:
    """1 for wrong answers, records that do not match, no pointsman, or (gated) a missed goal."""
    if any(sample.load.errors for sample in results.samples):
        return 1
    if plan.pointsman is not None and (results.readback is None or not results.readback.is_exact):
        return 1
    return 1 if is_gated and not is_met else 0


if __name__ == "__main__":
    main()
