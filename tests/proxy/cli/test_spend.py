"""`pointsman spend`."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli.program import cli
from tests.support.kept import config_with, kept


def test_adds_up_by_route_and_backend_and_counts_unknown_apart(tmp_path: Path) -> None:
    config = config_with(tmp_path, kept(), kept(cost_usd=0.003), kept(cost_usd=None))
    result = CliRunner().invoke(cli, ["spend", "--json", "--config", str(config)])
    (row,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert (row["route"], row["backend"], row["requests"]) == ("default", "quick", 3)
    assert row["cost_usd"] == pytest.approx(0.005)
    assert row["unknown_cost"] == 1


def test_people_get_a_table_with_the_sum(tmp_path: Path) -> None:
    config = config_with(tmp_path, kept(), kept(route="other"))
    result = CliRunner().invoke(cli, ["spend", "--config", str(config)])
    assert result.exit_code == 0
    assert "in all $0.004" in result.output


def test_by_day_where_it_is_asked_for(tmp_path: Path) -> None:
    yesterday = int(time.time() - 86_400) * 1_000_000
    config = config_with(tmp_path, kept(), kept(ts_us=yesterday, cost_usd=0.5))
    result = CliRunner().invoke(cli, ["spend", "--daily", "--json", "--config", str(config)])
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["cost_usd"] for row in rows] == [0.5, 0.002]
    assert rows[0]["day"] < rows[1]["day"]
    table = CliRunner().invoke(cli, ["spend", "--daily", "--config", str(config)]).output
    assert rows[0]["day"][:8] in table.replace("…", "")
