import pytest

from pointsman.errors import PointsmanError
from telemetry.errors import FoldTimeout, Locked, StoreError, StoreTooNew


@pytest.mark.parametrize("kind", [Locked, FoldTimeout, StoreTooNew])
def test_all_stand_under_one_root(kind):
    assert issubclass(kind, StoreError)
    assert issubclass(kind, PointsmanError)


def test_a_lock_says_who_holds_it():
    assert Locked("held", 7).holder == 7
    assert Locked("held").holder is None
