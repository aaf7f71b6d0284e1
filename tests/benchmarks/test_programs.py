"""The C programs build, stay on loopback and know their bounds."""

import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.programs import MissingProgram, Programs, build_programs


def test_builds_only_what_is_older_than_its_sources(programs: Programs) -> None:
    before = programs.load.stat().st_mtime_ns
    again = build_programs(programs.load.parent)
    assert again.load.stat().st_mtime_ns == before


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(MissingProgram, match="no C compiler"):
        build_programs(tmp_path)


@pytest.mark.parametrize("address", ["10.0.0.1", "0.0.0.0", "126.255.255.255", "128.0.0.1"])
def test_both_programs_refuse_to_leave_loopback(
    programs: Programs, tmp_path: Path, address: str
) -> None:
    body = tmp_path / "body"
    body.write_text("##########")
    load = [str(programs.load), "--port", "9", "--body", str(body), "--expect", str(body)]
    for command in (load, [str(programs.upstream)]):
        refused = subprocess.run(
            [*command, "--address", address],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
        assert refused.returncode == 2
        assert "outside 127.0.0.0/8" in refused.stderr


@pytest.mark.parametrize(
    "flags", [("--requests", "0"), ("--seconds", "9999"), ("--connections", "-1"), ("--rate", "x")]
)
def test_load_refuses_what_is_out_of_bounds(programs: Programs, flags: tuple[str, str]) -> None:
    refused = subprocess.run(
        [str(programs.load), *flags], capture_output=True, text=True, check=False, timeout=10
    )
    assert refused.returncode == 2
    assert flags[0] in refused.stderr


def test_load_ends_by_itself_when_nothing_listens(programs: Programs, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_text("##########")
    started = time.monotonic()
    refused = subprocess.run(
        [str(programs.load), "--port", "1", "--body", str(body), "--expect", str(body)],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    assert refused.returncode == 2
    assert "cannot connect" in refused.stderr
    assert time.monotonic() - started < 5
