"""`pointsman check`."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from proxy.cli.program import cli
from tests.support.simple_config import SIMPLE, write_config


def check(*words: str) -> Result:
    return CliRunner().invoke(cli, ["check", *words])


def test_a_good_file_is_ok(tmp_path: Path) -> None:
    result = check(str(write_config(tmp_path)))
    assert (result.exit_code, ": ok: 1 routes, 2 backends, 0 probes" in result.output) == (0, True)


def test_every_error_is_a_line_with_its_place(tmp_path: Path) -> None:
    text = SIMPLE.replace("[quick]", "[quikc]") + "colour: red\n"
    path = write_config(tmp_path, text)
    result = check("--config", str(path))
    assert result.exit_code == 1
    places = [line.split(": ")[0] for line in result.output.splitlines()]
    assert places == [f"{path}:7:26", f"{path}:8:1"]


def test_warnings_are_marked_and_do_not_fail(tmp_path: Path) -> None:
    path = write_config(tmp_path, SIMPLE + "keys: {file: keys.yaml}\n")
    result = check(str(path))
    assert result.exit_code == 0
    assert result.output.startswith(f"{path}:8:8: warning: ")


def test_a_failed_probe_fails(tmp_path: Path) -> None:
    probe = "{candidates: [quick], probes: [{prompt: hi, expect: {backend: other}}]}"
    path = write_config(tmp_path, SIMPLE.replace("{candidates: [quick]}", probe))
    result = check(str(path))
    assert result.exit_code == 1
    assert result.output.startswith(f"{path}:7:")
    assert "probe failed: expected other, got quick" in result.output


def test_a_missing_file_is_an_error_of_the_file(tmp_path: Path) -> None:
    result = check(str(tmp_path / "none.yaml"))
    assert (result.exit_code, "pointsman init" in result.output) == (1, True)


def test_prints_the_files_schema() -> None:
    schema = json.loads(check("--json-schema").output)
    assert {"listen", "backends", "routes"} <= set(schema["properties"])


def test_keys_that_cannot_be_used_are_errors_too(tmp_path: Path) -> None:
    path = write_config(tmp_path, SIMPLE + "keys: {file: keys.yaml}\n")
    (tmp_path / "keys.yaml").write_text("- {id: k}\n")
    result = check(str(path))
    assert result.exit_code == 1
    assert result.output.startswith(f"{tmp_path}/keys.yaml:1:3: ")
