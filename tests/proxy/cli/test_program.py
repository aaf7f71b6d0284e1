"""The program as a whole: every command has help with an example, errors have their codes."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from proxy.cli.program import COMMANDS, cli
from tests.support.simple_config import SIMPLE, write_config

WITHOUT_CONFIG = ("init",)


def commands() -> list[tuple[str, ...]]:
    """Every command and sub-command, as words."""
    found: list[tuple[str, ...]] = []
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found.extend((name, inner) for inner in command.commands)
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output
    assert f"pointsman {words[0]}" in result.output


NEEDED = {
    "key": ("list",),
    "export": ("--output", "{}.out", "--format", "jsonl-raw"),
    "import": ("{}",),
    "backtest": ("{}",),
    "dataset": ("list",),
    "model": ("list",),
    "canary": ("status",),
    "train": ("--dataset", "x"),
    "forget": ("--id", "x", "--yes"),
}
"""What a command cannot be called without; {} is some file."""


@pytest.mark.parametrize("word", [c for c in COMMANDS if c not in ("init", "check", "doctor")])
def test_a_bad_config_is_exit_code_2_and_its_lines(word: str, tmp_path: Path) -> None:
    config = write_config(tmp_path, SIMPLE.replace("[quick]", "[quikc]"))
    words = [word, *(text.format(config) for text in NEEDED.get(word, ()))]
    result = CliRunner().invoke(cli, [*words, "--config", str(config)], input="{}")
    assert result.exit_code == 2
    assert f"{config}:7:" in result.output
    assert "Traceback" not in result.output


def test_wrong_usage_is_exit_code_2() -> None:
    for words in (["serve", "--workers", "many"], ["nothing"], ["key", "create"]):
        assert CliRunner().invoke(cli, words).exit_code == 2


def test_a_store_that_cannot_be_used_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(click.Group, "invoke", full)
    result = CliRunner().invoke(cli, ["verify"])
    assert result.exit_code == 1
    assert result.output == (
        "pointsman: the store: disk I/O error (is the disk full, or read-only?)\n"
    )


def test_the_module_runs_as_the_program() -> None:
    output = subprocess.run(
        [sys.executable, "-m", "proxy.cli", "--version"],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.startswith("pointsman, version ")


def test_serve_does_not_pay_for_what_other_commands_need() -> None:
    code = (
        "import sys; import proxy.cli.serve, proxy.running; "
        "print([m for m in ('rich', 'aiohttp', 'sqlite3', 'sqlite_utils') if m in sys.modules])"
    )
    started_s = time.monotonic()
    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output == "[]\n"
    assert time.monotonic() - started_s < 5
