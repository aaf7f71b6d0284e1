"""`pointsman init`."""

from pathlib import Path

from click.testing import CliRunner

from proxy.cli.program import cli
from proxy.configuration import load_configuration


def test_writes_a_file_that_loads_without_a_warning(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    assert CliRunner().invoke(cli, ["init", "--config", str(config)]).exit_code == 0
    configuration = load_configuration(config)
    assert configuration.warnings == ()
    assert len(configuration.simulated) == len(configuration.backends)


def test_never_overwrites_unless_told(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("mine")
    result = CliRunner().invoke(cli, ["init", "--config", str(config)])
    assert (result.exit_code, config.read_text()) == (2, "mine")
    assert "--force" in result.output
    assert CliRunner().invoke(cli, ["init", "--config", str(config), "--force"]).exit_code == 0
    assert config.read_text() != "mine"
