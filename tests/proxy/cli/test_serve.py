"""`pointsman serve`: how many workers. What it then does is in tests/proxy/test_serving.py."""

import os

import click
import pytest

from proxy.cli.serve import Workers
from proxy.running import WORKERS_MAX


def test_auto_is_one_a_core_and_a_number_is_that() -> None:
    assert Workers().convert("auto", None, None) == len(os.sched_getaffinity(0))
    assert Workers().convert("3", None, None) == 3


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "", str(WORKERS_MAX + 1), "²"])
def test_anything_else_is_wrong_usage(value: str) -> None:
    with pytest.raises(click.BadParameter):
        Workers().convert(value, None, None)
