"""What a client library shows its user through pointsman is what it shows direct, or better."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.table import Table

from tests.conformance import matrix
from tests.conformance.cases import PASSED_ON, RETRIED
from tests.conformance.matrix import CLIENTS, Client, Results
from tests.conformance.outside import needs


def table_of(client: Client, direct: Results, through: Results, behind: Results) -> Table:
    """The rows that differ, each with its reason, and how many do not."""
    rows = [case for case in client.cases if direct[case.name] != through[case.name]]
    same = len(client.cases) - len(rows)
    title = f"{client}: {same} of {len(client.cases)} faults look the same; the others"
    table = Table(title=title, title_justify="left")
    for head in ("what the backend does", "direct", "through pointsman", "why", "+ healthy one"):
        table.add_column(head, no_wrap=True)
    for case in rows:
        before, after, best = direct[case.name], through[case.name], behind[case.name]
        same_again = "same" if best == after else str(best)
        table.add_row(case.name, str(before), str(after), case.through.why, same_again)
    return table


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_a_client_sees_what_it_sees_direct_or_better(
    client: Client, tmp_path: Path, show: Callable[[Table], None]
) -> None:
    with needs(), ThreadPoolExecutor(3) as pool:
        runs = (
            pool.submit(matrix.run_direct, client),
            pool.submit(matrix.run_through, client, tmp_path / "alone"),
            pool.submit(matrix.run_through, client, tmp_path / "behind", has_healthy=True),
        )
        direct, through, behind = (run.result() for run in runs)
    show(table_of(client, direct, through, behind))
    faults = {}
    for case in client.cases:
        before, after, best = direct[case.name], through[case.name], behind[case.name]
        alone = matrix.fault_of(client, case, before, after)
        helped = matrix.fault_behind(client, case, after, best)
        if alone or helped:
            faults[case.name] = f"direct {before}; through {after} {alone}; behind {best} {helped}"
    assert faults == {}
    attempts = {name: seen.attempts for name, seen in direct.items()}
    assert {attempts[f"status {status[:3]}"] for status in PASSED_ON} == {1}
    assert {attempts[f"status {status[:3]}"] for status in RETRIED} == {3}
