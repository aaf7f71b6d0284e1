"""What the conformance suites share: their tables are printed at the end, whoever ran them."""

from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

PRINTED = "printed at the end"


@pytest.fixture
def show(request: pytest.FixtureRequest) -> Callable[[Table], None]:
    """Print a table after the run; it crosses from a worker process with the test's report."""

    def keep(table: Table) -> None:
        console = Console(file=StringIO(), width=190)
        console.print(table)
        assert isinstance(console.file, StringIO)
        request.node.user_properties.append((PRINTED, console.file.getvalue()))

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the tables."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in report.user_properties:
                if name == PRINTED and report.when == "call":
                    terminalreporter.write(f"\n{text}")
