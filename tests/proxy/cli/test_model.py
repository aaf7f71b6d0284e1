"""`pointsman model`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.program import cli
from tests.learning.test_models import add
from tests.support.simple_config import write_config


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["model", *words, "--config", str(config)])


def test_models_are_shown(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    assert "Models: none" in run(config, "list").output
    model = add(tmp_path / "data")
    assert "m@1" in run(config, "list").output
    (found,) = [json.loads(line) for line in run(config, "list", "--json").stdout.splitlines()]
    assert (found["id"], found["dataset_id"], found["is_there"]) == ("m@1", "d@1", True)
    model.artifact_path.unlink()
    assert "gone" in run(config, "list").output


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [("none", 1, "there is no model none"), ("none.gguf", 2, "no file none.gguf")],
)
def test_what_cannot_be_served_is_told(tmp_path: Path, name: str, code: int, text: str) -> None:
    result = run(write_config(tmp_path), "serve", name)
    assert (result.exit_code, text in result.output) == (code, True)


def test_a_changed_file_is_not_served(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    add(tmp_path / "data").artifact_path.write_bytes(b"x")
    result = run(config, "serve", "m")
    assert (result.exit_code, "not the file that was registered" in result.output) == (1, True)
