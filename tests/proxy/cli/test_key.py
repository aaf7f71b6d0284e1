"""`pointsman key`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.program import cli
from proxy.keys import load_keys
from tests.support.simple_config import SIMPLE, write_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, SIMPLE + "keys: {file: keys.yaml}\n")


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["key", *words, "--config", str(config)])


def listed(config: Path) -> list[dict[str, str]]:
    output = run(config, "list", "--json").stdout
    return [json.loads(line) for line in output.splitlines()]


def test_create_prints_the_key_once_and_list_never(config: Path) -> None:
    secret = run(config, "create", "--caller", "app").stdout.strip()
    assert secret.startswith("pm-")
    assert load_keys(config.parent / "keys.yaml").caller_of(secret.encode()) == "app"
    (entry,) = listed(config)
    assert (entry["caller"], entry["last4"]) == ("app", secret[-4:])
    assert secret not in run(config, "list").output


def test_revoke_and_rotate_take_an_id(config: Path) -> None:
    old = run(config, "create", "--caller", "app").stdout.strip()
    new = run(config, "rotate", listed(config)[0]["id"]).stdout.strip()
    keys = load_keys(config.parent / "keys.yaml")
    assert (keys.caller_of(old.encode()), keys.caller_of(new.encode())) == (None, "app")
    assert run(config, "revoke", listed(config)[0]["id"]).exit_code == 0
    assert listed(config) == []
    result = run(config, "revoke", "key_00000000")
    assert (result.exit_code, "no key with the id" in result.output) == (1, True)


@pytest.mark.parametrize("caller", ["", "a\nb", "x" * 65, "a: b", "\x1b[31m"])
def test_a_caller_has_a_plain_name(config: Path, caller: str) -> None:
    assert run(config, "create", "--caller", caller).exit_code == 2
    assert not (config.parent / "keys.yaml").exists()


def test_without_keys_in_the_config_it_says_what_to_add(tmp_path: Path) -> None:
    result = run(write_config(tmp_path), "list")
    assert (result.exit_code, "keys: {file: keys.yaml}" in result.output) == (2, True)
