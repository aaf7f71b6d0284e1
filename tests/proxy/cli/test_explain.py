"""`pointsman explain`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.program import cli
from tests.support.simple_config import SIMPLE, write_config

BODY = '{"model": "auto", "messages": [{"role": "user", "content": "hi"}]}'
KEYS = {"decision_id", "route", "policy", "chosen", "reason", "candidates", "plan"}


def explain(config: Path, *words: str, body: str = BODY) -> Result:
    return CliRunner().invoke(cli, ["explain", "--config", str(config), *words], input=body)


def test_json_has_the_documented_shape(tmp_path: Path) -> None:
    found = json.loads(explain(write_config(tmp_path), "--json", "--state", "empty").stdout)
    assert set(found) == KEYS
    assert (found["route"], found["chosen"]) == ("default", "quick")
    (candidate,) = found["candidates"]
    assert set(candidate["latency_ms"]) == {"p50", "p95"}


def test_people_get_a_table_with_the_reason(tmp_path: Path) -> None:
    output = explain(write_config(tmp_path)).output
    assert output.startswith("route default -> quick\n")
    assert "Candidates" in output


def test_labels_steer_the_route(tmp_path: Path) -> None:
    text = SIMPLE + "  special: {match: {labels: {task: t}}, candidates: [other]}\n"
    config = write_config(tmp_path, text)
    found = json.loads(explain(config, "--json", "--label", "Task=t").stdout)
    assert found["chosen"] == "other"
    assert explain(config, "--label", "nonsense").exit_code == 2


@pytest.mark.parametrize("body", ["not json", "[]", '{"messages": []}', '{"model": "nobody"}'])
def test_an_unusable_request_is_wrong_usage(tmp_path: Path, body: str) -> None:
    result = explain(write_config(tmp_path), body=body)
    assert result.exit_code == 2
    assert "Error: " in result.output
