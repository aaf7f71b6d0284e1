"""What cannot be had fails a test beside `../shared`, and skips it elsewhere, with the reason."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conformance import environments


@contextmanager
def needs() -> Iterator[None]:
    """Around whatever uses an environment."""
    try:
        yield
    except environments.Unavailable as error:
        if environments.IS_REQUIRED:
            pytest.fail(str(error))
        pytest.skip(str(error))
