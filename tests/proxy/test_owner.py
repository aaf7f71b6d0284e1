"""Who is told of an attempt."""

from typing import cast

from proxy.attempt import Attempt
from proxy.owner import NOBODY, Owner


def test_nobody_hears_of_anything() -> None:
    nobody: Owner = NOBODY
    nobody.attempt_streams(cast("Attempt", None), b"data")
    nobody.attempt_ended(cast("Attempt", None))
