"""`pointsman calibrate`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from learning.calibrate import Judged
from proxy.cli.program import cli
from tests.support.kept import config_with, kept
from tests.support.simple_config import SIMPLE

PROMISING = SIMPLE.replace(
    "default: {candidates: [quick]}",
    "default: {candidates: [quick], require: {error: {max: 9%, reference: other}}}",
)


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["calibrate", "--config", str(config), *words])


def promising(directory: Path) -> Path:
    config = config_with(directory, kept())
    config.write_text(PROMISING)
    return config


def test_without_labels_nothing_is_promised(tmp_path: Path) -> None:
    result = run(promising(tmp_path))
    assert result.exit_code == 1
    assert "no promise: no answer of the route is labelled" in result.output
    assert json.loads((tmp_path / "config.lock.json").read_text())["routes"] == {}


def test_a_proof_is_written_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Judged(str(number), 0.9, 0, 0) for number in range(200)]
    monkeypatch.setattr("learning.calibrate.read_judged", lambda *_, **__: iter(rows))
    result = run(promising(tmp_path))
    assert result.exit_code == 0
    assert "certified at 95.0%: error at most 9.0%" in result.output
    lock = json.loads((tmp_path / "config.lock.json").read_text())["routes"]["default"]
    assert (lock["labels"], lock["errors"], lock["accept"]) == (200, 0, 0.0)


def test_routes_without_a_promise_are_wrong_usage(tmp_path: Path) -> None:
    assert run(config_with(tmp_path, kept())).exit_code == 2
