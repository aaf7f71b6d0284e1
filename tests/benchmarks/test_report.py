"""Goals are met, missed or not measured; the report shows all of a run."""

import io

import pytest
from rich.console import Console

from benchmarks.captured import Readback
from benchmarks.load import LoadGenerator, Scenario
from benchmarks.machine import Machine, Surroundings
from benchmarks.measure import measure
from benchmarks.processes import Memory
from benchmarks.report import Goal, Resting, Results, goals, show, show_goals
from benchmarks.servers import Server

MACHINE = Machine("some processor", 2, "6.1", "3.11", {"uvloop": "1"}, None, "cc 12", 0.1)
QUIET = Surroundings(neighbours={}, others=0.0, stolen=0.0, load_average=0.0)


def results(**other: object) -> Results:
    return Results(machine=MACHINE, surroundings=QUIET, **({"samples": []} | other))  # type: ignore[arg-type]


def resting(*, idle_mb: float) -> Resting:
    memory = Memory(rss_mb=idle_mb, pss_mb=idle_mb)
    return Resting([0.4, 0.5, 2.0], memory, memory, 0.0, 0.0)


@pytest.mark.parametrize(
    ("value", "is_missed"), [(None, False), (2.5, False), (2.51, True), (0.0, False)]
)
def test_a_goal_is_missed_only_by_a_measured_value(value: float | None, is_missed: bool) -> None:
    assert Goal("a figure", value, 2.5, "x").is_missed == is_missed


def test_goals_take_the_median_and_leave_the_unmeasured_open() -> None:
    found = {goal.name: goal for goal in goals(results(resting=resting(idle_mb=50.0)))}
    assert found["ready"].value == 0.5
    assert found["idle worker, RSS"].is_missed
    assert found["fold CPU per record, alone"].value is None


@pytest.mark.parametrize(("idle_mb", "is_met"), [(40.0, True), (50.0, False)])
def test_one_missed_goal_decides(idle_mb: float, is_met: bool) -> None:
    console = Console(file=io.StringIO(), width=200)
    assert show_goals(console, results(resting=resting(idle_mb=idle_mb))) == is_met


def test_a_run_is_shown_whole(generator: LoadGenerator, upstream: Server) -> None:
    scenario = Scenario("closed", "a title", 100, connections=2)
    sample = measure(generator, upstream, scenario, upstream=upstream)
    shown = io.StringIO()
    found = results(
        samples=[sample],
        resting=resting(idle_mb=40.0),
        readback=Readback(5, 5, 5, 5, 5),
        missing=["nginx: no such program"],
    )
    show(Console(file=shown, width=200), found, [scenario])
    for words in ("a title", "direct", "ready after", "5 answered", "no such program", "cc 12"):
        assert words in shown.getvalue()
