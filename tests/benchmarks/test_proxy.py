"""The runner from end to end, without a proxy to measure."""

import json
from pathlib import Path

from click.testing import CliRunner

from benchmarks import proxy
from benchmarks.programs import Programs


def test_a_quick_run_measures_and_writes_json(programs: Programs, tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    command = ["--quick", "--only", "closed", "--no-pin", "--without-pointsman", "--without-nginx"]
    result = CliRunner().invoke(proxy.main, [*command, "--check", "--json", str(target)])
    assert result.exit_code == 0, result.output
    assert "not measured" in result.output
    samples = json.loads(target.read_bytes())["samples"]
    direct = next(sample for sample in samples if sample["server"] == "direct")
    assert direct["load"]["right"] == direct["load"]["sent"] > 0


def test_cores_are_split_only_where_there_are_two(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(proxy.processes, "allowed_cores", lambda: [3, 5, 7])
    assert proxy.pick_cores(is_pinned=True) == (3, 5)
    assert proxy.pick_cores(is_pinned=False) == (None, None)
    monkeypatch.setattr(proxy.processes, "allowed_cores", lambda: [3])
    assert proxy.pick_cores(is_pinned=True) == (None, None)
