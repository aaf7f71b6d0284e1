"""`pointsman doctor`."""

import json
from pathlib import Path

from click.testing import CliRunner

from proxy.cli.program import cli
from tests.support.simple_config import write_config


def test_a_sound_installation_passes(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["doctor", "--config", str(write_config(tmp_path))])
    assert (result.exit_code, "WRONG" in result.output) == (0, False)
    assert "ok    packages: " in result.output


def test_something_wrong_is_exit_code_1_and_marked(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)  # whatever umask an earlier test has left
    result = CliRunner().invoke(cli, ["doctor", "--config", str(config)])
    assert result.exit_code == 1
    assert "WRONG directory: " in result.output


def test_programs_get_a_line_each(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["doctor", "--json", "--config", str(write_config(tmp_path))])
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"subject", "verdict", "detail"} == set(found[0])
