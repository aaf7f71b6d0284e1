"""An upstream failure says what kind it is, and belongs to the program's one tree of errors."""

from typing import get_args

import pytest

from adapters import errors
from adapters.errors import Kind, UpstreamError
from pointsman.errors import PointsmanError


def test_carries_its_kind_and_its_words() -> None:
    error = UpstreamError("tls", "certificate has expired")
    assert error.kind == "tls"
    assert str(error) == "certificate has expired"
    assert isinstance(error, PointsmanError)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_is_explained(kind: Kind) -> None:
    assert f"\n        {kind} " in (errors.__doc__ or "")
