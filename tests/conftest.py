"""What every test may use: the project's root on the path, Hypothesis without a stopwatch."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `from tests.support...`, whether or not the project is installed
    sys.path.insert(0, str(ROOT))

# A deadline per example measures the machine and its neighbours, not the code.
settings.register_profile("pointsman", deadline=None)
settings.load_profile("pointsman")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's top folder."""
    return ROOT
