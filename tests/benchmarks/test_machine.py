"""The facts beside the figures."""

import os
from pathlib import Path

from benchmarks import machine


def test_a_machine_is_described(tmp_path: Path) -> None:
    facts = machine.describe(nginx=None, data_directory=tmp_path)
    assert facts.cores >= 1
    assert facts.fsync_ms > 0
    assert "no nginx" in "\n".join(facts.lines())
    assert list(tmp_path.iterdir()) == []


def test_own_work_is_not_charged_to_neighbours() -> None:
    before = machine.read_clock()
    until = os.times().user + 0.2
    while os.times().user < until:
        pass
    found = machine.surroundings(before, ours={os.getpid()})
    charged = machine.surroundings(before, ours=set())
    name = Path("/proc/self/comm").read_text().strip()
    assert charged.neighbours.get(name, 0.0) > found.neighbours.get(name, 0.0)
