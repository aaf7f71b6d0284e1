"""`pointsman backtest`."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from proxy.cli.program import cli
from tests.support.kept import config_with, kept
from tests.support.records import make_candidate

KEPT = kept(decided="quick", candidates=(make_candidate("quick"),))


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["backtest", str(config), "--config", str(config), *words])


def test_the_same_policy_moves_nothing(tmp_path: Path) -> None:
    config = config_with(tmp_path, *([KEPT] * 1))
    result = run(config)
    assert "1 captures decided again" in result.output
    assert "Nothing would go elsewhere." in result.output
    assert result.exit_code == 1  # one row says nothing: every matter is refused


def test_programs_get_json_and_people_a_page(tmp_path: Path) -> None:
    config = config_with(tmp_path, KEPT)
    html = tmp_path / "page.html"
    found = json.loads(run(config, "--json", "--html", str(html)).stdout)
    assert found["rows"] == 1
    assert found["moves"] == []
    assert "effective sample size" in found["findings"]["cost_usd"]["refusal"]
    assert html.read_text().startswith("<!doctype html>")


def test_a_faulty_policy_is_refused(tmp_path: Path) -> None:
    config = config_with(tmp_path, KEPT)
    faulty = tmp_path / "new.yaml"
    faulty.write_text("routes: {}")
    words = ["backtest", str(faulty), "--config", str(config)]
    assert CliRunner().invoke(cli, words).exit_code == 2
