"""What commands share."""

import time
from pathlib import Path

import click
import pytest

from pointsman.errors import ConfigError
from proxy.cli.options import Ago, read_config
from tests.support.simple_config import SIMPLE, write_config


def test_a_span_is_a_moment_that_long_ago() -> None:
    moment = Ago().convert("2h", None, None)
    assert moment == pytest.approx(time.time() - 7200, abs=5)
    assert Ago().convert(moment, None, None) == moment
    with pytest.raises(click.BadParameter, match="duration"):
        Ago().convert("2", None, None)


def test_warnings_go_to_standard_error_and_errors_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, SIMPLE + "keys: {file: keys.yaml}\n")
    assert read_config(config).keys_file == tmp_path / "keys.yaml"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"warning: {config}:8:")
    with pytest.raises(ConfigError):
        read_config(tmp_path / "none.yaml")
