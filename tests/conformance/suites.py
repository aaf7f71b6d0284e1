"""Test suites of others, run by pytest in their own environments against any address."""

import os
import subprocess
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from tests.conformance import environments

RUN_S_MAX = 1200.0
ROUTED = (
    "chat",
    "responses",
    "test_completions.py",
    "test_embeddings.py",
    "test_models.py",
    "test_moderations.py",
    "test_responses.py",
)
"""What pointsman understands: routed by policy, or answered by itself."""

Outcomes = Mapping[str, str]
"""`passed`, `failed` or `skipped` by the test's name."""


def openai_python(base_url: str, report: Path, *, parts: tuple[str, ...] = ("",)) -> Outcomes:
    """These parts of openai-python's `tests/api_resources`. Raises environments.Unavailable."""
    folder = environments.openai_tests()
    files = [f"tests/api_resources/{part}" for part in parts]
    return _run("openai", base_url, report, folder, "-n", "2", *files)


def langchain(base_url: str, report: Path) -> Outcomes:
    """LangChain's standard tests. Raises environments.Unavailable."""
    suite = environments.HERE / "clients" / "langchain_suite.py"
    words = (
        "--asyncio-mode=auto",
        "--noconftest",
        "-c",
        os.devnull,
        "--rootdir",
        str(report.parent),
    )
    return _run("langchain", base_url, report, report.parent, *words, str(suite))


def _run(name: str, base_url: str, report: Path, folder: Path, *words: str) -> Outcomes:
    python = environments.python(name)
    pytest = (python, "-m", "pytest", "-p", "no:cacheprovider", "-o", "addopts=", "-q")
    done = subprocess.run(
        [*pytest, "--tb=line", f"--junit-xml={report}", *words],
        cwd=folder,
        env={**os.environ, "TEST_API_BASE_URL": base_url, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
    )
    report.with_suffix(".txt").write_text(done.stdout + done.stderr)
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    return read_report(report)


def read_report(path: Path) -> Outcomes:
    """What pytest wrote."""
    outcomes = {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        found = {child.tag for child in case}
        is_bad = not found.isdisjoint({"failure", "error"})
        outcome = "failed" if is_bad else "skipped" if "skipped" in found else "passed"
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return outcomes


def table_of(title: str, direct: Outcomes, through: Outcomes) -> Table:
    """How many ended how, both ways."""
    table = Table(title=title, title_justify="left")
    for head in ("direct", "through pointsman", "tests"):
        table.add_column(head, justify="right" if head == "tests" else "left")
    pairs = Counter((outcome, through.get(name, "missing")) for name, outcome in direct.items())
    for (before, after), count in sorted(pairs.items()):
        table.add_row(before, after, str(count))
    return table
