"""A promise from labels to live traffic, and void again: as an operator does it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy.cli.program import cli
from tests.support.served import Served

QUESTIONS = 300
ROUTE = """\
  default:
    candidates: [cheap]
    confidence: {from: [logprobs], accept: ACCEPT}
    escalate: {to: sure}
"""
HEAD = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
backends:
  cheap: {adapter: simulated, logprobs: true, price: {input: 0.1, output: 0.2}, profile: PROFILE_A}
  sure: {adapter: simulated, price: {input: 1, output: 2}, profile: PROFILE_B}
routes:
"""
PROFILE = "{like: LIKE, speed: instant, error_rate: RATE, answers: answers.jsonl}"
PROMISE = "    require: {error: {max: 9%, reference: sure}}\n"


def text(accept: str, *, promise: str = "", candidates: str = "[cheap]") -> str:
    cheap = PROFILE.replace("LIKE", "local").replace("RATE", "15%")
    sure = PROFILE.replace("LIKE", "gpt-4").replace("RATE", "0%")
    head = HEAD.replace("PROFILE_A", cheap).replace("PROFILE_B", sure)
    route = ROUTE.replace("ACCEPT", accept).replace("[cheap]", candidates)
    return head + route + promise


def question(number: int) -> str:
    return f"What is {number} plus {number % 7}?"


def run(config: Path, *words: str) -> str:
    result = CliRunner().invoke(cli, [*words, "--config", str(config)])
    assert result.exit_code == 0, result.output
    return result.output


def answered_by(server: Served, numbers: range) -> Counter[str | None]:
    found: Counter[str | None] = Counter()
    for number in numbers:
        status, headers, _ = server.chat(question(number))
        assert status == 200
        found[headers.get("x-pointsman-backend")] += 1
    return found


def wait_for(server: Served, config: Path, words: str, *, is_certified: bool) -> dict[str, Any]:
    """Until every worker says so of the promise; what one of them says."""
    config.write_text(words)

    def is_so(state: Any) -> bool:
        told = [worker["state"].get("promises", {}) for worker in state["workers"].values()]
        return all(one.get("default", {}).get("certified") is is_certified for one in told)

    state = server.wait_until("/state", is_so)
    found: dict[str, Any] = state["workers"]["worker 1"]["state"]["promises"]["default"]
    return found


@pytest.mark.slow
def test_a_promise_is_proved_kept_and_void_once_its_route_changes(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    lines = [
        json.dumps({"prompt": question(number), "answer": str(number + number % 7)})
        for number in range(QUESTIONS)
    ]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    config.write_text(text("0"))
    with Served(config, workers=2) as server:
        assert answered_by(server, range(QUESTIONS)) == {"cheap": QUESTIONS}
        run(config, "label", "--teacher", "sure", "--budget", "5", "--yes")
        promising = text("calibrated", promise=PROMISE)
        void = wait_for(server, config, promising, is_certified=False)
        assert "pointsman calibrate" in void["reason"]
        assert answered_by(server, range(10)) == {"sure": 10}

        assert "fitted on" in run(config, "fit")
        assert "certified at 95.0%" in run(config, "calibrate")
        proof = wait_for(server, config, promising, is_certified=True)
        assert 0.0 < proof["accept"] < 1.0
        found = answered_by(server, range(100))
        assert found["cheap"] > 40
        assert found["cheap"] + found["sure"] == 100

        changed = text("calibrated", promise=PROMISE, candidates="[cheap, sure]")
        void = wait_for(server, config, changed, is_certified=False)
        assert void["reason"] == "the route or one of its backends has changed"
        assert answered_by(server, range(10)) == {"sure": 10}
        assert any("has changed" in event["problem"] for event in server.events("config_warning"))
        assert "has changed" in run(config, "check")
