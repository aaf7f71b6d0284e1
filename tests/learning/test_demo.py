"""The demo's road, with simulated answers in the local model's place."""

import asyncio
import io
import json
from pathlib import Path

import pytest
from openai import AsyncOpenAI
from rich.console import Console

from learning import demo, local
from learning.demo_questions import load_questions
from tests.support.simulated import backends_from, running


def test_reads_the_address_from_the_ready_line() -> None:
    line = "pointsman ready listen=http://127.0.0.1:8080 admin=http://127.0.0.1:8081 workers=2\n"
    assert demo.ready_address(line) == "http://127.0.0.1:8080"
    assert demo.ready_address("something else\n") is None


@pytest.mark.parametrize("is_stream", [False, True])
async def test_asks_with_the_official_client(is_stream: bool, tmp_path: Path) -> None:
    question = load_questions()[0]
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": question.prompt, "answer": "Paris"}))
    backends = backends_from(
        "b: {adapter: simulated, model: auto, profile: {speed: instant, answers: a.jsonl}}",
        tmp_path,
    )
    async with running(backends) as (host, port):
        url = f"http://{host}:{port}/b/v1"
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            asked = await demo.ask(client, question, is_stream=is_stream)
    assert asked.error is None
    assert asked.text == "Paris"
    assert asked.is_right


async def test_a_failure_is_an_outcome() -> None:
    url = f"http://127.0.0.1:{local.free_port()}/v1"
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        asked = await demo.ask(client, load_questions()[0], is_stream=False)
    assert asked.error is not None
    assert "APIConnectionError" in asked.error


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(tmp_path))
    assert demo.main() == 1
    assert "xllamacpp is missing" in capsys.readouterr().out


def test_a_proxy_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("nonsense: true\n")
    with (
        pytest.raises(demo.DemoError, match="did not become ready"),
        demo.serving(config, tmp_path / "log"),
    ):
        pass
    assert (tmp_path / "log").read_text()


LOCAL = """
local:
  adapter: simulated
  model: gemma-3-270m
  profile: {speed: instant, answers: answers.jsonl, faults: answer=empty, fault_rate: 50%}
"""


async def test_the_road_leads_from_questions_to_training_examples(tmp_path: Path) -> None:
    questions = [question for question in load_questions() if question.task == "ask"][:8]
    rows = [json.dumps({"prompt": q.prompt, "answer": q.answer}) for q in questions]
    (tmp_path / "answers.jsonl").write_text("\n".join(rows))
    console = Console(record=True, width=200, file=io.StringIO())
    async with running(backends_from(LOCAL, tmp_path)) as (host, port):
        url = f"http://{host}:{port}/local/v1"
        failed = await asyncio.to_thread(demo.travel, console, tmp_path, url, questions)
    text = console.export_text()
    assert not failed, text
    assert "failed its checks: escalated to gpt-4" in text
    assert "exported 8 rows as openai-chat" in text
    examples = (tmp_path / "openai-chat.jsonl").read_text().splitlines()
    asked = {json.loads(example)["messages"][0]["content"] for example in examples}
    assert asked == {question.prompt for question in questions}
