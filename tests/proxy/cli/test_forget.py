"""`pointsman forget`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.program import cli
from tests.support.chats import chat
from tests.support.records import keep
from tests.support.simple_config import write_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    keep(tmp_path / "data", [chat("a", user="me"), chat("b", user="you")])
    return write_config(tmp_path)


def run(config: Path, *words: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["forget", "--config", str(config), *words], input=text)


def test_asks_before_it_forgets(config: Path) -> None:
    assert run(config, "--user", "me", text="n\n").exit_code == 1
    result = run(config, "--user", "me", text="y\n")
    assert (result.exit_code, "1 requests and 0 labels" in result.stdout) == (0, True)


def test_programs_get_the_report(config: Path) -> None:
    assert json.loads(run(config, "--key", "billing", "--yes", "--json").stdout)["requests"] == 2


@pytest.mark.parametrize("words", [(), ("--user", "a", "--id", "b"), ("--key", "a", "--id", "b")])
def test_one_subject_at_a_time(config: Path, words: tuple[str, ...]) -> None:
    result = run(config, "--yes", *words)
    assert (result.exit_code, "name one of" in result.output) == (2, True)
