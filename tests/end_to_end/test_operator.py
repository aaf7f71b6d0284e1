"""Every command as an operator walks through them: serving, stopped, killed.

All commands must say the same of the same data, whoever folds it.
"""

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Finished, all_captures, command, follow_captures
from tests.support.ledger import Ledger, Wire, chat_body, chat_request, differences
from tests.support.served import WAIT_S, Served
from tests.support.simple_config import write_config

CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
keys: {file: keys.yaml}
backends:
  quick: {adapter: simulated, profile: {like: local, speed: 1000}, price: {input: 1, output: 2}}
  other: {adapter: simulated, profile: {like: gpt-4, speed: 1000}, price: {input: 30, output: 60}}
routes:
  work:
    match: {labels: {task: "work-*"}}
    candidates: [quick, other]
    prefer: cheapest
  default: {candidates: [quick]}
"""
COMMANDS = (
    ("check",),
    ("captures",),
    ("captures", "--limit", "2"),
    ("captures", "--since", "1h", "--route", "work"),
    ("verify", "--deep"),
    ("spend",),
    ("doctor",),
    ("key", "list"),
)


def run(config: Path, *words: str, code: int = 0, text: str | None = None) -> Finished:
    """A command that must end with this code and never with a traceback."""
    finished = command(*words, config=config, text=text)
    said = finished.output + finished.errors
    assert "Traceback" not in said
    assert finished.code == code, (words, said)
    return finished


def ask(served: Served, ledger: Ledger, key: str, count: int) -> None:
    """Good requests, some of them labelled."""
    with Wire(served.listen) as wire:
        for number in range(count):
            body = chat_body(f"{number}", stream=number % 2 == 0)
            label = {"x_pointsman_label_task": "work-1"} if number % 3 == 0 else {}
            answer = wire.ask(body, authorization=f"Bearer {key}", **label)
            assert answer.status == 200
            ledger.add(body, answer)


def walk(config: Path, ledger: Ledger) -> dict[str, Any]:
    """Every command; returns what must stay the same as long as nobody asks anything."""
    for words in COMMANDS:
        run(config, *words)
    captures = all_captures(config, "--bodies")
    assert differences(ledger, captures) == []
    assert [one["id"] for one in captures] == sorted(one["id"] for one in captures)
    newest = all_captures(config, "--limit", "3")
    assert [one["id"] for one in newest] == [one["id"] for one in captures[-3:]]
    assert {one["route"] for one in all_captures(config, "--route", "work")} == {"work"}
    explained = run(config, "explain", "--json", text=chat_body().decode())
    exports = {}
    for kind in ("openai-chat", "jsonl-raw"):
        output = config.parent / f"{kind}.jsonl"
        run(config, "export", "--format", kind, "--output", str(output))
        exports[kind] = output.read_text().splitlines()
    assert len(exports["openai-chat"]) == sum(one["complete"] for one in captures)
    for line in exports["openai-chat"]:
        roles = [message["role"] for message in json.loads(line)["messages"]]
        assert roles == ["user", "assistant"]
    return {
        "captures": captures,
        "exports": exports,
        "chosen": json.loads(explained.output)["chosen"],
        "spend": run(config, "spend", "--json").output,
    }


def test_the_same_is_seen_serving_stopped_and_killed(tmp_path: Path) -> None:
    config = write_config(tmp_path, CONFIG)
    key = run(config, "key", "create", "--caller", "app").output.strip()
    ledger = Ledger(tmp_path / "ledger")
    with Served(config, workers=2) as served:
        ask(served, ledger, key, 30)
        serving = walk(config, ledger)
        assert served.get("/readyz")[0] == 200
    stopped = walk(config, ledger)
    assert stopped == serving
    assert {one["caller"] for one in stopped["captures"]} == {"app"}
    assert len(stopped["captures"]) == 30

    with Served(config, workers=2) as served:
        ask(served, ledger, key, 10)
        pids = [served.process.pid, *served.children().values()]
        os.kill(served.children()["keeper"], signal.SIGSTOP)  # so that some is left to fold
        ask(served, ledger, key, 10)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        served.process.wait(WAIT_S)
    killed = walk(config, ledger)
    assert len(killed["captures"]) == 50
    assert killed["captures"][:30] == stopped["captures"]
    assert_datasette_can_read_it(tmp_path / "data", 50)

    with Served(config) as served:
        status, state = served.get("/state")
        assert (status, state["policy"]) == (200, served.policy)
        assert all_captures(config, "--bodies") == killed["captures"]
    ledger.close()


def assert_datasette_can_read_it(data: Path, count: int) -> None:
    """Plain SQLite, nothing of ours needed."""
    total = 0
    for path in data.glob("capture-*.db"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            (rows,) = connection.execute("select count(*) from requests where complete").fetchone()
            total += rows
    assert total == count


def test_a_decision_is_the_same_from_header_command_and_port(tmp_path: Path) -> None:
    config = write_config(tmp_path, CONFIG.replace("keys: {file: keys.yaml}\n", ""))
    with Served(config, workers=2) as served:
        with Wire(served.listen) as wire:
            answer = wire.ask(chat_body(), x_pointsman_label_task="work-7")
        identifier = answer.headers["x-pointsman-decision-id"]
        found = served.wait_until(f"/decisions/{identifier}", lambda one: "chosen" in one)
        assert found["decision_id"] == identifier
        assert found["route"] == answer.headers["x-pointsman-route"] == "work"
        assert found["policy"] == answer.headers["x-pointsman-policy"] == served.policy
        assert found["chosen"] == answer.headers["x-pointsman-backend"]
        assert [one["backend"] for one in found["candidates"]] == ["quick", "other"]
        explained = json.loads(
            run(
                config, "explain", "--json", "--label", "task=work-7", text=chat_body().decode()
            ).output
        )
        # What was said since is in the store only; what would have changed it is worked out anew.
        assert {*explained, "feedback"} == {*found, "changes"}
        assert explained["chosen"] == found["chosen"]
        (capture,) = [one for one in all_captures(config) if one["id"] == identifier]
        assert capture["decided"] == found["chosen"]
        cost = float(answer.headers["x-pointsman-cost-usd"])
        assert capture["cost_usd"] == pytest.approx(cost, abs=1e-9)


def test_follow_shows_what_comes(tmp_path: Path) -> None:
    config = write_config(tmp_path, CONFIG.replace("keys: {file: keys.yaml}\n", ""))
    with Served(config) as served, follow_captures(config) as lines:
        for number in range(3):
            _, headers, _ = served.chat(str(number))
            assert json.loads(next(lines))["id"] == headers["x-pointsman-decision-id"]


def test_commands_say_what_is_wrong_with_a_config_and_touch_nothing(tmp_path: Path) -> None:
    config = write_config(tmp_path, CONFIG.replace("[quick]", "[quikc]"))
    found = run(config, "check", code=1)
    assert f"{config}:12:" in found.output + found.errors
    for words in (("captures",), ("verify",), ("spend",), ("serve",), ("key", "list")):
        finished = run(config, *words, code=2)
        assert f"{config}:12:" in finished.errors
    run(config, "doctor", code=1)
    assert not (tmp_path / "data").exists()


def test_commands_before_the_first_start_find_nothing(tmp_path: Path) -> None:
    config = write_config(tmp_path, CONFIG)
    run(config, "key", "create", "--caller", "app")
    assert all_captures(config) == []
    for words in COMMANDS:
        run(config, *words)
    assert run(config, "explain", "--json", text=chat_body().decode()).output
    run(config, "explain", text="{", code=2)


def test_a_wrong_key_leaves_no_trace_of_what_was_asked(tmp_path: Path) -> None:
    config = write_config(tmp_path, CONFIG)
    key = run(config, "key", "create", "--caller", "app").output.strip()
    secret = "canary-0815"
    with Served(config) as served:
        for wrong in (key[:-1], key + "x", key.upper(), "", "sk-nothing"):
            with Wire(served.listen) as wire:
                answer = wire.ask(chat_body(secret), authorization=f"Bearer {wrong}")
                assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        with Wire(served.listen) as wire:
            wire.send(chat_request(chat_body(secret)))
            assert wire.read_answer().status == 401
            wire.send(b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n")
            assert wire.read_answer().status == 401
        with Wire(served.listen) as wire:
            answer = wire.ask(chat_body("well known"), authorization=f"Bearer {key}")
            assert answer.status == 200
        time.sleep(0.3)
    assert [one["http_status"] for one in all_captures(config)] == [200]
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert secret.encode() not in content
            assert key.encode() not in content
    assert key not in served.log()
    assert secret not in served.log()
