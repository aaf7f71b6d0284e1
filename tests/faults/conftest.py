"""What the tests of faults share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """The client's books of one test."""
    ledger = Ledger(tmp_path / "ledger")
    yield ledger
    ledger.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder is the fault laboratory's: `make faults`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("faults")
