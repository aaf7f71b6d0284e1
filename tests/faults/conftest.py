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
