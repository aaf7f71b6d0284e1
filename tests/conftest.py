"""What every test may use: the project's root on the path, Hypothesis without a stopwatch.

A test marked `timed` holds a moment to a narrow limit. `make test` runs these alone, behind the
others, and one is passed where any of three tries is: what the machine does besides makes a try
late, never early. Whoever needed more than one is named at the end.
"""

import os
import sys
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol  # as every plug-in that repeats a test; no public way
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `from tests.support...`, whether or not the project is installed
    sys.path.insert(0, str(ROOT))

# Before numpy is loaded: its threads spin against the other test process, ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A deadline per example measures the machine and its neighbours, not the code.
settings.register_profile("pointsman", deadline=None)
settings.load_profile("pointsman")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's top folder."""
    return ROOT


TRIES_MAX = 3
_AGAIN = pytest.StashKey[list[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Try a test marked `timed` until it passes, TRIES_MAX times; the last try is reported."""
    if item.get_closest_marker("timed") is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for number in range(1, TRIES_MAX + 1):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not any(report.failed for report in reports):
            break
        if number < TRIES_MAX:
            item.config.stash.setdefault(_AGAIN, []).append(item.nodeid)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was late at first."""
    for name in terminalreporter.config.stash.get(_AGAIN, []):
        terminalreporter.write_line(f"late, tried again: {name}")
