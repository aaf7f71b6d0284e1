"""What a client library shows its user through pointsman is what it shows direct, or better."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.table import Table

from tests.conformance import matrix
from tests.conformance.cases import PASSED_ON, RETRIED
from tests.conformance.matrix import Seen
from tests.conformance.outside import needs


def table_of(client: str, direct: dict[str, Seen], through: dict[str, Seen]) -> Table:
    """The rows that differ, each with its reason, and how many do not."""
    cases = matrix.cases_for(client)
    rows = [case for case in cases if direct[case.name] != through[case.name]]
    title = f"{client}: {len(cases) - len(rows)} of {len(cases)} faults look the same; the others"
    table = Table(title=title, title_justify="left")
    for head in ("what the backend does", "direct", "through pointsman", "why"):
        table.add_column(head, no_wrap=True)
    for case in rows:
        before, after = direct[case.name], through[case.name]
        table.add_row(case.name, str(before), str(after), case.through.why)
    return table


@pytest.mark.parametrize("client", matrix.CLIENTS)
def test_a_client_sees_what_it_sees_direct_or_better(
    client: str, tmp_path: Path, show: Callable[[Table], None]
) -> None:
    with needs(), ThreadPoolExecutor(2) as pool:
        both = (
            pool.submit(matrix.run_direct, client),
            pool.submit(matrix.run_through, client, tmp_path / "served"),
        )
        direct, through = (one.result() for one in both)
    show(table_of(client, direct, through))
    faults = {
        case.name: f"{through[case.name]} {fault}; direct: {direct[case.name]}"
        for case in matrix.cases_for(client)
        if (fault := matrix.fault_of(client, case, direct[case.name], through[case.name]))
    }
    assert faults == {}
    attempts = {name: seen.attempts for name, seen in direct.items()}
    assert {attempts[f"status {status[:3]}"] for status in PASSED_ON} == {1}
    assert {attempts[f"status {status[:3]}"] for status in RETRIED} == {3}
