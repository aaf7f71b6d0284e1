"""Records that are missing, doubled or not whole do not pass for the answers."""

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.captured import read_back

Listing = Callable[[list[dict[str, object]], int], Path]


@pytest.fixture
def listing(tmp_path: Path) -> Listing:
    """Makes a stand-in for the CLI that lists these captures and exits so."""

    def make(captures: list[dict[str, object]], code: int) -> Path:
        text = "".join(json.dumps(capture) + "\n" for capture in captures)
        program = tmp_path / "pointsman"
        program.write_text(
            f"#!{sys.executable}\nprint({text!r}, end='')\nraise SystemExit({code})\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    return make


def capture(number: int, **other: object) -> dict[str, object]:
    return {
        "id": f"id-{number}",
        "status": "ok",
        "complete": True,
        "http_status": 200,
        "request_sha256": f"sha-{number}",
    } | other


def test_one_whole_record_an_answer_is_exact(listing: Listing, tmp_path: Path) -> None:
    program = listing([capture(n) for n in range(3)], 0)
    found = read_back(program, config=tmp_path, answered=3)
    assert found.is_exact
    assert str(found).endswith("equal")


@pytest.mark.parametrize(
    "captures",
    [
        pytest.param([capture(0), capture(1)], id="lost"),
        pytest.param([capture(0), capture(1), capture(2), capture(2)], id="listed twice"),
        pytest.param([capture(0), capture(1), capture(2, request_sha256="sha-1")], id="twice"),
        pytest.param([capture(0), capture(1), capture(2, complete=False)], id="not complete"),
        pytest.param([capture(0), capture(1), capture(2, status="error")], id="not ok"),
    ],
)
def test_anything_else_is_not(
    listing: Listing, tmp_path: Path, captures: list[dict[str, object]]
) -> None:
    found = read_back(listing(captures, 0), config=tmp_path, answered=3)
    assert not found.is_exact
    assert str(found).endswith("NOT EQUAL")


def test_a_failing_command_is_an_error(listing: Listing, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exited with 2 after 1 records"):
        read_back(listing([capture(0)], 2), config=tmp_path, answered=1)
