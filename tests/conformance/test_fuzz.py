"""Parsers hold for any bytes: by coverage with atheris, by grammar with Hypothesis."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table

from tests.conformance import environments
from tests.conformance.fuzz.targets import TARGETS
from tests.conformance.fuzz.tokens import TOKENS
from tests.conformance.outside import needs

QUICK_S, LONG_S = 5, 60
RUNS_MIN = 200
EXAMPLES = 400


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(
    "span_s", [QUICK_S, pytest.param(LONG_S, marks=pytest.mark.slow)], ids=lambda span: f"{span}s"
)
def test_nothing_breaks_it(
    name: str, span_s: int, tmp_path: Path, show: Callable[[Table], None]
) -> None:
    with needs():
        python = environments.python("fuzz")
    done = subprocess.run(
        [python, "-m", "tests.conformance.fuzz", name, str(span_s), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=environments.ROOT,
        timeout=span_s + 120,
        check=False,
    )
    found = [path.read_bytes() for path in tmp_path.glob("[a-z]*-*") if path.is_file()]
    assert done.returncode == 0, f"{found!r}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    runs = int(re.findall(r"number_of_executed_units: (\d+)", done.stderr)[0])
    covered = re.findall(r"cov: (\d+)", done.stderr)[-1]
    table = Table("target", "seconds", "inputs", "edges covered", title="atheris")
    table.add_row(name, str(span_s), f"{runs:,}", covered)
    show(table)
    assert runs >= RUNS_MIN


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_likely_breaks_it(name: str) -> None:
    likely = st.lists(st.sampled_from(TOKENS[name]) | st.binary(max_size=4), max_size=30)

    @settings(max_examples=EXAMPLES)
    @given(st.binary(min_size=3, max_size=3), likely.map(b"".join))
    def hold(cuts: bytes, text: bytes) -> None:
        TARGETS[name](cuts + text)

    hold()
