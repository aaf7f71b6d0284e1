"""`make flywheel`: from the calls of an app to a model of one's own, every step the real command.

    simulated gpt-4 and o3-mini -> serve and capture -> benchmark -> a teacher's labels -> data set
    -> LoRA on a 270M model -> GGUF -> serve -> benchmark beside the hosted ones

    --calls N     captured (2,000)
    --speed N     of the simulated backends; their latencies are then not the talk's
    --stub        no training and no local model: the steps before it, for CI; says so

What is not there yet (calibration, canary) is named at the end, not played. Exit code 1 where a
step fails.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp

from pointsman.errors import PointsmanError

from .demo import serving
from .flywheel_calls import Call, as_known_answer, as_question, calls
from .local import LocalServer
from .models import find_model

AT_ONCE: Final = 64
NOT_BUILT: Final = ("calibration of the student's confidence", "canary with escalation")

CONFIG: Final = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
capture: {{directory: ./data}}
backends:
  gpt-4:
    adapter: simulated
    profile: {{like: gpt-4, answers: answers.jsonl, speed: {speed:g}}}
    price: {{input: 30, output: 60}}
  o3-mini:
    adapter: simulated
    profile: {{like: o3-mini, answers: answers.jsonl, speed: {speed:g}}}
    price: {{input: 1.10, output: 4.40}}
    reasoning: true
{student}routes:
  extract:
    match: {{model: auto}}
    candidates: [gpt-4, o3-mini]
    require:
      latency: {{p90: 200ms, of: total}}
      error: {{max: 9%, confidence: 95%, reference: o3-mini}}
      cost: {{max: $0.004}}
    if_none: fastest
  default: {{candidates: gpt-4}}
"""
STUDENT: Final = (
    "  student: {{adapter: openai, base_url: {url}, model: model, price: {{per_hour: 0.20}},"
    " logprobs: true}}\n"
)


class Size(NamedTuple):
    """How much of it. `speed`: of the simulated backends; above 1 they are faster than life."""

    calls: int = 2000
    tests: int = 200
    steps: int = 60
    speed: float = 1.0


class FlywheelError(PointsmanError):
    """A step failed; the message is its own."""


class Flywheel:
    """One run in a folder of its own."""

    def __init__(self, directory: Path, size: Size, *, is_stub: bool) -> None:
        self.directory = directory
        self.config = directory / "config.yaml"
        self._size = size
        self._count = size.calls
        self._is_stub = is_stub
        self.spans: list[tuple[str, float]] = []

    def run(self) -> None:
        """Every step that there is, in order."""
        made = list(calls(self._count + self._size.tests))
        self._step("generate", lambda: self._write(made))
        self._step("capture", lambda: self._capture(made[: self._count]))
        before = self._step("benchmark", lambda: self._benchmark("gpt-4", "o3-mini"))
        self._step("label", lambda: self._pointsman(
            "label", "--teacher", "o3-mini", "--route", "extract", "--budget", "200", "--yes",
            "--sample", str(self._count), "--concurrency", str(AT_ONCE),
        ))  # fmt: skip
        self._step("data set", lambda: self._pointsman(
            "dataset", "build", "extract", "--route", "extract", "--labels", "require",
            "--prune-prefix",
        ))  # fmt: skip
        if self._is_stub:
            say("No training here (--stub): the steps behind it are left out.")
        else:
            self._student(before)
        say("Not there yet: " + "; ".join(NOT_BUILT))

    def _student(self, before: dict[str, Any]) -> None:
        self._step("train", lambda: self._pointsman(
            "train", "--dataset", "extract", "--steps", str(self._size.steps),
            "--max-tokens", "512",
        ))  # fmt: skip
        model = find_model(self.directory / "data", "extract")
        with LocalServer(
            model.artifact_path, threads=max(1, (os.cpu_count() or 1) // 2),
            log=self.directory / "student.log", template=model.template_path,
        ) as server:  # fmt: skip
            self._write_config(STUDENT.format(url=server.base_url))
            after = self._step("benchmark the student", lambda: self._benchmark(
                "student", dataset="extract", at_once=2
            ))  # fmt: skip
        for result in [*before["results"], *after["results"]]:
            say(_line(result))

    def _step(self, name: str, work: Any) -> Any:
        say(f"== {name}")
        started_s = time.monotonic()
        found = work()
        self.spans.append((name, time.monotonic() - started_s))
        return found

    def _write(self, made: list[Call]) -> None:
        for file, line in (("answers.jsonl", as_known_answer), ("all.jsonl", as_question)):
            text = "".join(line(call) + "\n" for call in made)
            (self.directory / file).write_text(text, "utf-8")
        test = "".join(as_question(call) + "\n" for call in made[self._count :])
        (self.directory / "test.jsonl").write_text(test, "utf-8")
        self._write_config("")

    def _write_config(self, student: str) -> None:
        self.config.write_text(CONFIG.format(student=student, speed=self._size.speed), "utf-8")

    def _capture(self, made: list[Call]) -> None:
        with serving(self.config, self.directory / "serve.log") as base_url:
            asyncio.run(_ask_all(base_url, made))

    def _benchmark(
        self, *backends: str, dataset: str | None = None, at_once: int = AT_ONCE
    ) -> dict[str, Any]:
        words = [word for backend in backends for word in ("--backend", backend)]
        asked = ["--dataset", dataset] if dataset else ["--set", str(self.directory / "test.jsonl")]
        text = self._pointsman(
            "benchmark", "--route", "extract", *words, *asked, "--json", "--budget", "100",
            "--concurrency", str(at_once), is_shown=False,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(text)
        for result in found["results"]:
            say(_line(result))
        say(found["advice"]["verdict"])
        return found

    def _pointsman(self, *words: str, is_shown: bool = True) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "proxy.cli", *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise FlywheelError(f"pointsman {words[0]}: {done.stderr.strip()[-500:]}")
        if is_shown:
            say(done.stdout.rstrip())
        return done.stdout


async def _ask_all(base_url: str, made: list[Call]) -> None:
    """Every call once, through the proxy."""
    queue = iter(made)
    async with aiohttp.ClientSession() as session:

        async def work() -> None:
            for call in queue:
                body = {"model": "auto", "messages": call.messages}
                async with session.post(f"{base_url}/chat/completions", json=body) as answer:
                    await answer.read()

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def _line(result: dict[str, Any]) -> str:
    """One backend's figures."""
    error, p95, cost = result["error"], result["p95"], result["usd_per_1k"]
    return (
        f"{result['backend']:>10}: error {error[0]:.1%} ({error[1]:.1%}-{error[2]:.1%}),"
        f" p50 {result['p50'][0] / 1000:.0f} ms, p95 {p95[0] / 1000:.0f} ms,"
        f" ${cost[0]:.3f} per 1,000, n {result['n']}"
    )


def say(line: str) -> None:
    """To whoever watches."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 where every step worked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    usual = Size()
    parser.add_argument("--calls", type=int, default=usual.calls)
    parser.add_argument("--tests", type=int, default=usual.tests)
    parser.add_argument("--steps", type=int, default=usual.steps, help="of training")
    parser.add_argument("--speed", type=float, default=usual.speed, help="of simulated backends")
    parser.add_argument("--stub", action="store_true", help="without training and local model")
    parser.add_argument("--keep", type=Path, help="where the run's files stay")
    options = parser.parse_args(arguments)
    directory = options.keep or Path(tempfile.mkdtemp(prefix="pointsman-flywheel-"))
    directory.mkdir(parents=True, exist_ok=True)
    size = Size(options.calls, options.tests, options.steps, options.speed)
    wheel = Flywheel(directory, size, is_stub=options.stub)
    started_s = time.monotonic()
    try:
        wheel.run()
    except PointsmanError as error:
        say(f"failed: {error} (files in {directory})")
        return 1
    for name, span_s in wheel.spans:
        say(f"{span_s:7.1f} s  {name}")
    say(f"{time.monotonic() - started_s:7.1f} s  in all")
    if options.keep is None:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
