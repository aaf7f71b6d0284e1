"""openai-python's own tests of its API resources, run against any address."""

import os
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

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


def run_suite(base_url: str, report: Path, *, parts: tuple[str, ...] = ("",)) -> Outcomes:
    """All tests of these parts of `tests/api_resources`. Raises environments.Unavailable."""
    source = environments.openai_tests()
    words = [environments.python("openai"), "-m", "pytest", "-p", "no:cacheprovider"]
    words += ["-o", "addopts=", "-q", "--tb=line", "-n", "2", f"--junit-xml={report}"]
    done = subprocess.run(
        [*words, *(f"tests/api_resources/{part}" for part in parts)],
        cwd=source,
        env={**os.environ, "TEST_API_BASE_URL": base_url},
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
