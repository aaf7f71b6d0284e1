"""`make demo`: the whole road with a real model, on this machine, in a few minutes.

A local 270M model and two simulated hosted backends stand behind `pointsman serve`; a few dozen
questions are asked with the official client, streamed and not; what became of each is printed
from the records, which are then exported as training examples. Exit code 1 if anything failed.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from pointsman.errors import PointsmanError

from . import local
from .demo_questions import PAYMENT_SCHEMA, Question, load_questions, write_config
from .demo_report import Asked, Capture, faults, summary, table

AT_ONCE = 2  # the local server has two slots
READY_S_MAX = 30.0
STOP_S_MAX = 30.0
ANSWER_TOKENS_MAX = 48
OUTPUT_COLUMNS = 140  # where the output goes to no terminal, which would say its own width
EXPORT_FORMATS = ("openai-chat", "jsonl-raw")


class DemoError(PointsmanError):
    """The demo cannot go on; the message says why."""


def main() -> int:
    """Run the demo; 0 where everything worked."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=OUTPUT_COLUMNS)
    directory = Path(tempfile.mkdtemp(prefix="pointsman-demo-"))
    try:
        local.require_server()
        model = local.obtain(
            local.cache_directory(), lambda line: console.print(line, soft_wrap=True)
        )
        return run(console, directory, model)
    except (PointsmanError, OSError) as error:
        console.print(f"[red]demo failed:[/red] {error} (files in {directory})", soft_wrap=True)
        return 1


def run(console: Console, directory: Path, model: Path) -> int:
    """Serve, ask, report, export. `directory` keeps config, captures, logs and exports."""
    questions = load_questions()
    threads = max(1, (os.cpu_count() or 1) // 2)
    console.print(f"Starting the model with {threads} thread(s) ...")
    with local.LocalServer(model, threads=threads, log=directory / "model.log") as server:
        console.print(
            "A base model has no chat template: conversations are written as questions and answers."
        )
        return travel(console, directory, server.base_url, questions)


def travel(console: Console, directory: Path, model_url: str, questions: Sequence[Question]) -> int:
    """The road from question to training example, over the model at `model_url`."""
    config = write_config(
        directory, base_url=model_url, model=local.MODEL_NAME, questions=questions
    )
    with serving(config, directory / "pointsman.log") as base_url:
        console.print(f"pointsman listens on {base_url}; its config: {config}", soft_wrap=True)
        asked = ask_all(base_url, questions, console)
        captures = read_captures(config)
    console.print(table(asked, captures))
    for line in summary(asked, captures):
        console.print(line, highlight=False)
    exported = export(config, directory, console)
    failed = faults(asked, captures, exported)
    for fault in failed:
        console.print(f"[red]failed:[/red] {fault}", soft_wrap=True)
    return 1 if failed else 0


# -- the proxy --------------------------------------------------------------------------------


def pointsman(*arguments: str) -> list[str]:
    """The command line of this installation's `pointsman`."""
    return [sys.executable, "-m", "proxy.cli", *arguments]


@contextmanager
def serving(config: Path, log: Path) -> Iterator[str]:
    """`pointsman serve` in a process of its own; yields the base URL of its data port."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            pointsman("serve", "--config", str(config), "--workers", "1"),
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
        )
        try:
            yield _ready_url(process, log) + "/v1"
        finally:
            process.terminate()
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


def _ready_url(process: "subprocess.Popen[str]", log: Path) -> str:
    """The address in the ready line; Raises DemoError if the process ends before it."""
    assert process.stdout is not None
    for line in process.stdout:
        url = ready_address(line)
        if url is not None:
            return url
    raise DemoError(f"pointsman did not become ready; see {log}")


def ready_address(line: str) -> str | None:
    """`pointsman ready listen=URL ...` -> URL."""
    if not line.startswith("pointsman ready "):
        return None
    words = dict(word.split("=", 1) for word in line.split() if "=" in word)
    return words.get("listen")


def read_captures(config: Path) -> dict[str, Capture]:
    """Every record, by the id the client was told."""
    lines = _output("captures", "--json", "--config", str(config)).splitlines()
    records: list[Capture] = [json.loads(line) for line in lines if line.strip()]
    return {str(record["id"]): record for record in records}


def export(config: Path, directory: Path, console: Console) -> int:
    """Write the captures in every format; how many training examples there are."""
    counts = []
    for form in EXPORT_FORMATS:
        path = directory / f"{form}.jsonl"
        _output("export", "--config", str(config), "--format", form, "--output", str(path))
        with path.open("rb") as lines:
            counts.append(sum(1 for _ in lines))
        console.print(f"exported {counts[-1]} rows as {form}: {path}", soft_wrap=True)
    return counts[0]


def _output(*arguments: str) -> str:
    done = subprocess.run(pointsman(*arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"pointsman {arguments[0]}: {done.stderr.strip()[-500:]}")
    return done.stdout


# -- the client -------------------------------------------------------------------------------


def ask_all(base_url: str, questions: Sequence[Question], console: Console) -> list[Asked]:
    """Ask every question, every second one streamed, AT_ONCE at a time."""
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("Asking", total=len(questions))
        return asyncio.run(_ask_all(base_url, questions, lambda: progress.advance(bar)))


async def _ask_all(base_url: str, questions: Sequence[Question], advance: Any) -> list[Asked]:
    from openai import AsyncOpenAI  # a tool of the demo and of tests, not of the server

    slots = asyncio.Semaphore(AT_ONCE)
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:

        async def ask_one(number: int, question: Question) -> Asked:
            async with slots:
                asked = await ask(client, question, is_stream=number % 2 == 1)
            advance()
            return asked

        return list(await asyncio.gather(*(ask_one(*item) for item in enumerate(questions))))


async def ask(client: Any, question: Question, *, is_stream: bool) -> Asked:
    """One request with the official client; failures become part of the outcome."""
    from openai import OpenAIError

    started = time.monotonic()
    try:
        raw = await client.chat.completions.with_raw_response.create(
            **_members(question), stream=is_stream
        )
        answer = raw.parse()
        text = await _streamed(answer) if is_stream else answer.choices[0].message.content or ""
    except (OpenAIError, OSError, LookupError) as error:
        latency_s = time.monotonic() - started
        return Asked(question, is_stream, latency_s, error=f"{type(error).__name__}: {error}")
    latency_s = time.monotonic() - started
    decision_id = raw.headers.get("x-pointsman-decision-id")
    return Asked(question, is_stream, latency_s, text=text.strip(), decision_id=decision_id)


def _members(question: Question) -> dict[str, Any]:
    members: dict[str, Any] = {
        "model": "auto",
        "messages": [{"role": "user", "content": question.prompt}],
        "max_tokens": ANSWER_TOKENS_MAX,
        "temperature": 0,
        "extra_headers": {"x-pointsman-label-task": question.task},
    }
    if question.wants_json:
        schema = {"name": "payment", "schema": PAYMENT_SCHEMA, "strict": True}
        return members | {"response_format": {"type": "json_schema", "json_schema": schema}}
    return members | {"stop": ["\n"]}


async def _streamed(chunks: Any) -> str:
    pieces = [choice.delta.content or "" async for chunk in chunks for choice in chunk.choices[:1]]
    return "".join(pieces)


if __name__ == "__main__":
    sys.exit(main())
