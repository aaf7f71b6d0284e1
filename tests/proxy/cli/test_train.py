"""`pointsman train`."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from learning import local, train_process
from learning.dataset import build
from learning.dataset_spec import DatasetSpec
from proxy.cli.program import cli
from tests.learning.test_train import STUB
from tests.support.chats import keep_chats
from tests.support.simple_config import write_config


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    keep_chats(tmp_path / "data", 30)
    build(tmp_path / "data", "d", DatasetSpec())
    base = tmp_path / "base.gguf"
    base.write_bytes(b"base")
    monkeypatch.setattr(local, "obtain", lambda where, say: base)
    script = tmp_path / "stub.py"
    script.write_text(f"MODE = ''\n{STUB}")
    monkeypatch.setattr("learning.train.train.__kwdefaults__", {
        **__import__("learning.train", fromlist=["train"]).train.__kwdefaults__, "script": script,
    })  # fmt: skip
    return write_config(tmp_path)


def run(config: Path, *words: str) -> Result:
    words = ("--config", str(config), "--python", sys.executable, *words)
    return CliRunner().invoke(cli, ["train", *words])


def test_trains_and_says_what_comes_next(config: Path) -> None:
    result = run(config, "--dataset", "d")
    assert result.exit_code == 0, result.output
    for text in ("d@1: 2 steps", "loss 2.0000 -> 0.5000, on valid rows 0.7000", "only 75%",
                 "pointsman model serve d@1", "--elsewhere DIR",
                 "left out: 1 rows longer"):  # fmt: skip
        assert text in result.output, text


def test_programs_get_the_report(config: Path) -> None:
    found = json.loads(run(config, "--dataset", "d@1", "--name", "student", "--json").stdout)
    assert found["model"] == "student@1"


@pytest.mark.parametrize(
    ("words", "text"),
    [(("--dataset", "none"), "there is no data set none"),
     (("--dataset", "d", "--python", "/none"), "make train-env")],
)  # fmt: skip
def test_clear_errors(config: Path, words: tuple[str, ...], text: str) -> None:
    result = run(config, *words)
    assert (result.exit_code, text in result.output) == (1, True)


def test_the_script_is_there() -> None:
    assert Path(train_process.__file__).is_file()


def test_files_and_commands_for_another_machine(config: Path, tmp_path: Path) -> None:
    result = run(config, "--dataset", "d", "--elsewhere", str(tmp_path / "gpu"), "--base", "m-8b")
    assert result.exit_code == 0, result.output
    assert "axolotl train train.jsonl.yaml --base-model m-8b" in result.output
    assert "vllm serve m-8b" in result.output
    assert (tmp_path / "gpu/trl/train.jsonl").is_file()
    again = run(config, "--dataset", "d", "--elsewhere", str(tmp_path / "gpu"))
    assert (again.exit_code, "is there already" in again.output) == (1, True)
    found = run(config, "--dataset", "d", "--elsewhere", str(tmp_path / "other"), "--json")
    assert len(json.loads(found.stdout)["commands"]) == 4
