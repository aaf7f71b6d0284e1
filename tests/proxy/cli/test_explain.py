"""`pointsman explain`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.program import cli
from tests.support.simple_config import SIMPLE, write_config

BODY = '{"model": "auto", "messages": [{"role": "user", "content": "hi"}]}'
KEYS = {
    "decision_id", "route", "policy", "chosen", "reason", "candidates", "plan", "changes",
}  # fmt: skip


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


TWO = SIMPLE.replace("[quick]", "[quick, other]").replace("speed: 1000", "speed: 1")
FIGURES = "expect: {{first_token: {}ms, tokens_per_second: 100, completion_tokens: 11}}, price: {}"
PRICED = TWO.replace(
    "like: local, speed: 1}", "like: local}, " + FIGURES.format(50, "{input: 1, output: 1}")
).replace("like: gpt-4, speed: 1}", "like: gpt-4}, " + FIGURES.format(900, "{input: 2, output: 2}"))


def test_says_what_would_have_changed_the_choice(tmp_path: Path) -> None:
    config = write_config(tmp_path, PRICED)
    (change,) = json.loads(explain(config, "--json", "--state", "empty").stdout)["changes"]
    assert (change["chosen"], change["what"]) == ("other", "price")
    assert f"other would be chosen with {change['words']}\n" in explain(config).output


def test_a_promise_that_is_not_in_force_says_why(tmp_path: Path) -> None:
    promise = "[quick, other], require: {error: {max: 9%, reference: other}}"
    config = write_config(tmp_path, PRICED.replace("[quick, other]", promise))
    found = json.loads(explain(config, "--json", "--state", "empty").stdout)
    assert found["chosen"] == "other"
    assert "no certified lock for error 9%" in found["reason"]
    (change,) = found["changes"]
    assert (change["chosen"], change["what"]) == ("quick", "certified")


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
