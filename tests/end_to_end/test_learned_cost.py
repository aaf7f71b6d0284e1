"""The lesson this project began with: the cheap reasoning model is the dear one.

By list price o3-mini is a small part of gpt-4. Its answers are paid with the tokens it thought
in, so after some real traffic the learned state says so, and so does the route.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import all_captures, command
from tests.support.ledger import Wire, chat_body
from tests.support.served import WAIT_S, Served
from tests.support.simple_config import write_config

CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
backends:
  gpt-4:
    adapter: simulated
    profile: {like: gpt-4, speed: 1000}
    price: {input: 30, output: 60}
  o3-mini:
    adapter: simulated
    profile: {like: o3-mini, speed: 1000}
    price: {input: 1.10, cached_input: 0.55, output: 4.40}
routes:
  thrifty:
    match: {model: auto}
    candidates: [gpt-4, o3-mini]
    prefer: cheapest
  default: {candidates: [gpt-4]}
"""
EACH = 40
QUESTION = "Which of the two is the payoff amount on this statement?"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server that both backends have answered from; it is stopped before the tests ask."""
    config = write_config(tmp_path_factory.mktemp("learned"), CONFIG)
    with Served(config, workers=2) as served:
        assert asked(served)[1]["x-pointsman-backend"] == "o3-mini"  # nothing known but the price
        teach(served)
    return config


def teach(served: Served) -> None:
    """Real answers from both, until the workers route by what was learned of them."""
    with Wire(served.listen) as wire:
        for number in range(EACH):
            for model in ("gpt-4", "o3-mini"):
                body = chat_body(QUESTION, model=model, stream=number % 2 == 0)
                assert wire.ask(body).status == 200
    served.wait_until("/state", lambda state: state["fold"]["folded"] >= 2 * EACH)
    served.wait_until("/healthz", lambda _: asked(served)[1]["x-pointsman-backend"] == "gpt-4")


def asked(served: Served) -> tuple[int, Any]:
    """One request by the route."""
    status, headers, _ = served.chat(QUESTION)
    return status, headers


def explained(config: Path, *words: str) -> dict[str, Any]:
    """`explain --json` for the question."""
    request = chat_body(QUESTION).decode()
    finished = command("explain", "--json", *words, config=config, text=request)
    assert finished.code == 0, finished.errors
    return dict(json.loads(finished.output))


def costs(explanation: dict[str, Any]) -> dict[str, float]:
    """Expected cost of each candidate, in US dollars."""
    return {one["backend"]: one["cost_usd"] for one in explanation["candidates"]}


def test_by_price_alone_the_reasoning_model_seems_cheap(config: Path) -> None:
    explanation = explained(config, "--state", "empty")
    assert explanation["chosen"] == "o3-mini"
    cost = costs(explanation)
    assert cost["o3-mini"] is None or cost["o3-mini"] < cost["gpt-4"]


def test_after_real_traffic_it_is_found_dearer(config: Path) -> None:
    explanation = explained(config)
    cost = costs(explanation)
    assert cost["o3-mini"] > cost["gpt-4"] > 0
    assert explanation["chosen"] == "gpt-4"
    assert not any(one["prior"] for one in explanation["candidates"])


def test_what_is_expected_is_what_was_paid(config: Path) -> None:
    captures = all_captures(config)
    cost = costs(explained(config))
    for name in ("gpt-4", "o3-mini"):
        paid = [one["cost_usd"] for one in captures if one["backend"] == name]
        mean = sum(paid) / len(paid)
        assert cost[name] == pytest.approx(mean, rel=0.25)
    thought = [one["reasoning_tokens"] for one in captures if one["backend"] == "o3-mini"]
    assert min(thought) > 100
    for one in captures:
        assert one["completion_tokens"] >= (one["reasoning_tokens"] or 0)


def test_spend_says_it_too(config: Path) -> None:
    finished = command("spend", "--json", config=config)
    assert finished.code == 0, finished.errors
    rows = [json.loads(line) for line in finished.output.splitlines()]
    rows = rows[0] if rows and isinstance(rows[0], list) else rows
    by_backend: dict[str, float] = {}
    for row in rows:
        by_backend[row["backend"]] = by_backend.get(row["backend"], 0.0) + row["cost_usd"]
    total = sum(one["cost_usd"] for one in all_captures(config))
    assert sum(by_backend.values()) == pytest.approx(total)
    assert by_backend["o3-mini"] > by_backend["gpt-4"] * 0.9


def test_what_was_learned_outlives_a_kill(tmp_path: Path) -> None:
    config = write_config(tmp_path, CONFIG)
    with Served(config) as served:
        teach(served)
        for pid in (served.process.pid, *served.children().values()):
            os.kill(pid, signal.SIGKILL)
        served.process.wait(WAIT_S)
    explanation = explained(config)
    assert costs(explanation)["o3-mini"] is not None
    assert explanation["chosen"] == "gpt-4"
