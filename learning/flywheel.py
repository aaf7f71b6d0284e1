"""`make flywheel`: from the calls of an app to a model of one's own, every step the real command.

    generate   noisy calls about loans, with what is true in them
    capture    GPT-4 answers them through `pointsman serve`
    benchmark  GPT-4 and o3-mini against the route's requirements: neither meets them
    label      o3-mini as the teacher
    dataset    split without leaks, personal data masked, the constant prompt pruned
    train      LoRA on a model of 270 million parameters, merged, converted to GGUF
    baseline   that model untrained, with examples in its prompt
    trial      `pointsman model serve`: the student answers calls nobody trained on
    calibrate  from which confidence on its answers keep the promised error
    canary     it takes over from GPT-4: shadow, 75 %, 100 %
    routed     new calls: the student answers, and o3-mini where it is unsure
    report     the table before and after

    --work-dir D   keep the run there; the same command goes on behind the last step that is done
    --from STEP    do that step and those behind it anew
    --stub         CI: the trainer is a stub, and a simulated student stands in; says so

GPT-4 and o3-mini are simulated, with the pace, errors and tokens of one company's measured month.
Exit code 1 where a step fails or the routed line misses what it is for.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from pointsman.errors import PointsmanError
from pointsman.units import duration_s

from . import flywheel_report as report
from . import flywheel_traffic as traffic
from .demo import serving
from .flywheel_calls import (
    EXAMPLES,
    Call,
    as_known_answer,
    as_line,
    as_question,
    calls,
    few_shot,
)
from .flywheel_config import SMALL, Size, Stage
from .flywheel_steps import Found, State, Step, model_served, pointsman, read_json
from .train import prepare_base
from .train_process import PYTHON

ROUTE: Final = "extract"
STUB_SAYS: Final = (
    "STUB: nothing is trained here; a simulated student stands in for the model"
    " (`make flywheel` trains and serves a real one)"
)
CANARY_POLL: Final = 8
"""Its state is asked for after so many calls."""


class Flywheel:
    """One run in a folder of its own."""

    def __init__(self, directory: Path, size: Size, *, is_stub: bool = False) -> None:
        self.directory = directory
        self.config = directory / "config.yaml"
        self.state = State(directory)
        self.is_fresh = False
        """Training begins anew; else it goes on from its last checkpoint."""
        self._size = size
        self._is_stub = is_stub
        self._stage = Stage(size.budget, size.speed)
        self._served = ExitStack()
        made = list(calls(size.calls + size.canary + size.routed))
        self._captured = made[: size.calls]
        self._for_canary = made[size.calls : size.calls + size.canary]
        self._for_routing = made[size.calls + size.canary :]
        self._made = made

    @property
    def steps(self) -> list[Step]:
        """All of it, in order."""
        return [
            Step("generate", self._generate),
            Step("capture", self._capture),
            Step("benchmark", self._benchmark),
            Step("label", self._label),
            Step("dataset", self._dataset),
            Step("train", self._train),
            Step("baseline", self._baseline),
            Step("trial", self._trial),
            Step("calibrate", self._calibrate),
            Step("canary", self._canary),
            Step("routed", self._routed),
            Step("report", self._report),
        ]

    def run(self) -> bool:
        """Every step that is not done; whether it did what it is for."""
        with self._served:
            for step in self.steps:
                self.state.run(step, say)
        return not self.state.found("report")["faults"]

    # -- what the app and the hosted models do ---------------------------------------------------

    def _generate(self) -> None:
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        answers = "".join(as_known_answer(call) + "\n" for call in self._made)
        (self.directory / "answers.jsonl").write_text(answers, "utf-8")
        asked = "".join(as_question(call) + "\n" for call in self._captured)
        (self.directory / "truth.jsonl").write_text(asked, "utf-8")
        say(self._captured[0].text)
        say(f"   -> {msgspec.json.encode(self._captured[0].answer).decode()}")

    def _capture(self) -> None:
        self._configure(self._stage.today())
        with serving(self.config, self.directory / "serve.log") as base_url:
            outcomes = traffic.ask_all(base_url, self._captured, at_once=self._size.at_once)
        wrong = sum(not one.is_right for one in outcomes)
        say(f"{len(outcomes)} calls captured; GPT-4 answered {wrong} of them wrongly")

    def _benchmark(self) -> Found:
        self._configure(self._stage.measured())
        words = ["--set", str(self.directory / "truth.jsonl"), "--sample",
                 str(self._size.benchmarked), "--concurrency", str(self._size.at_once)]  # fmt: skip
        return self._benchmarked("gpt-4", "o3-mini", words=words)

    def _label(self) -> None:
        said = pointsman(
            self.config, "label", "--teacher", "o3-mini", "--route", ROUTE, "--budget", "200",
            "--yes", "--sample", str(self._size.labelled),
            "--samples", str(self._size.samples), "--concurrency", str(self._size.at_once),
        )  # fmt: skip
        say(said.rstrip())

    def _dataset(self) -> None:
        share = min(0.8, 1.15 * self._size.trial / self._size.labelled)
        say(
            pointsman(
                self.config, "dataset", "build", ROUTE, "--route", ROUTE, "--labels", "require",
                "--prune-prefix", "--test", f"{share:.0%}", "--valid", "2%",
            ).rstrip()
        )  # fmt: skip

    # -- the student -----------------------------------------------------------------------------

    def _train(self) -> Found:
        size = self._size
        words = ["--steps", str(size.steps), "--batch", str(size.batch), "--threads",
                 str(size.threads), "--max-tokens", "384"]  # fmt: skip
        if self.is_fresh:
            words.append("--fresh")
        if self._is_stub:
            say(STUB_SAYS)
            words += ["--python", str(self._stub_trainer()), "--base", str(self._stub_base())]
        told = pointsman(self.config, "train", "--dataset", ROUTE, "--json", *words)
        found = read_json(told)
        say(f"{found['model']}: {found['steps']} steps, loss {found['first_loss']:.3f} ->"
            f" {found['last_loss']:.3f}, of a few answers {found['stops'] or 0:.0%} ended by"
            " themselves")  # fmt: skip
        return found

    def _baseline(self) -> Found | None:
        if self._is_stub or not self._size.baseline:
            say("left out")
            return None
        template = self.directory / "few-shot.jinja"
        template.write_text(few_shot(self._captured), "utf-8")
        asked = self.directory / "few-shot.jsonl"
        asked.write_text("".join(map(as_line, self._held_out())), "utf-8")
        log = self.directory / "model.log"
        with model_served(
            self.config, "gemma-3-270m", threads=self._size.threads, log=log, template=template
        ) as url:
            self._configure(self._stage._replace(url=url).baseline())
            words = ["--set", str(asked), "--sample", str(self._size.baseline),
                     "--concurrency", str(self._size.own_at_once)]  # fmt: skip
            return self._benchmarked("untrained", words=words)

    def _trial(self) -> Found:
        """Also what calibrates: held-out calls whose labels are there already."""
        started_s = time.time()
        asked = self._held_out()[: self._size.trial]
        self._ask("trial", self._student().trial(), asked)
        return {"started_s": started_s, "calls": len(asked)}

    def _calibrate(self) -> Found:
        """On answers of the student only: what GPT-4 answered before says nothing of it."""
        self._configure(self._student().routed())
        since = f"{int(time.time() - self.state.found('trial')['started_s']) + 1}s"
        said = pointsman(
            self.config, "calibrate", "--route", ROUTE, "--since", since, "--json", allowed=(0, 1)
        )
        lock = read_json(said)
        say(report.proof(lock))
        return lock

    def _canary(self) -> Found:
        """GPT-4 hands over where everything is kept."""
        outcomes = self._ask(
            "canary", self._student().canary(), self._for_canary, should_stop=self._is_over
        )
        found = self._canaries()
        for step in found["steps"]:
            say(f"  {step['what']} ({step['stage']}): {step['reason']}")
        say(f"after {len(outcomes)} calls: {found['status']}")
        say(found["suggested_edit"] or f"  waits for: {found['waits_for']}")
        return found

    def _routed(self) -> Found | None:
        self._ask("routed", self._student().routed(), self._for_routing)
        return None

    # -- the end ---------------------------------------------------------------------------------

    def _report(self) -> Found:
        before = [report.of_benchmark(r) for r in self.state.found("benchmark")["results"]]
        baseline = self.state.found("baseline").get("results", [])
        outcomes = self._kept("routed")
        routed = report.of_outcomes(outcomes, "routed")
        lines = [
            *before,
            *(report.of_benchmark(one, f"untrained, {EXAMPLES} examples") for one in baseline),
            report.of_outcomes(self._kept("trial"), "student alone"),
            routed,
        ]
        for line in report.table(lines):
            say(line)
        faults = report.faults(routed, before, duration_s(self._size.budget))
        if self.state.found("canary")["status"] != "promoted":
            faults.append("the canary was not promoted")
        escalated = sum(one.is_escalated for one in outcomes) / len(outcomes)
        say(report.verdict(routed, faults, self._size.budget, escalated))
        if self._is_stub:
            say(STUB_SAYS)
        return {"faults": faults}

    # -- helpers ---------------------------------------------------------------------------------

    def _configure(self, text: str) -> None:
        self.config.write_text(text, "utf-8")

    def _benchmarked(self, *backends: str, words: Sequence[str]) -> Found:
        named = [word for backend in backends for word in ("--backend", backend)]
        text = pointsman(
            self.config, "benchmark", "--route", ROUTE, *named, *words, "--json", "--budget", "100"
        )
        found: dict[str, Any] = msgspec.json.decode(text)
        for line in report.table([report.of_benchmark(one) for one in found["results"]]):
            say(line)
        for line in (found["advice"]["verdict"], *found["advice"]["lines"]):
            say(f"  {line}")
        return {"results": found["results"]}

    def _student(self) -> Stage:
        """The stage with the student's address. It is served from now on to the run's end."""
        if not self._is_stub and self._stage.url is None:
            log = self.directory / "model.log"
            served = model_served(self.config, ROUTE, threads=self._size.threads, log=log)
            self._stage = self._stage._replace(url=self._served.enter_context(served))
        return self._stage

    def _ask(
        self, name: str, config: str, asked: Sequence[Call], **options: Any
    ) -> list[traffic.Outcome]:
        """Calls through the proxy under that configuration; kept for the report."""
        self._configure(config)
        with serving(self.config, self.directory / "serve.log") as base_url:
            outcomes = traffic.ask_all(base_url, asked, at_once=self._size.own_at_once, **options)
        lines = pointsman(
            self.config, "captures", "--json", "--limit", str(len(outcomes))
        ).splitlines()
        outcomes = traffic.with_records(outcomes, lines)
        traffic.keep(self.directory / f"{name}.json", outcomes)
        for line in report.table([report.of_outcomes(outcomes, name)]):
            say(line)
        return outcomes

    def _kept(self, name: str) -> list[traffic.Outcome]:
        return traffic.kept(self.directory / f"{name}.json")

    def _held_out(self) -> list[Call]:
        """The calls of the data set's test rows."""
        known = {call.text: call for call in self._captured}
        out = self.directory / "held-out.jsonl"
        pointsman(
            self.config, "export", "--dataset", ROUTE, "--split", "test", "--format",
            "trl-prompt-completion", "--output", str(out),
        )  # fmt: skip
        rows = map(msgspec.json.decode, out.read_bytes().splitlines())
        texts = [row["prompt"][-1]["content"] for row in rows]
        return [known[text] for text in texts if text in known]

    def _canaries(self) -> Found:
        return read_json(pointsman(self.config, "canary", "status", ROUTE, "--json"))

    def _is_over(self, done: int) -> bool:
        return done % CANARY_POLL == 0 and self._canaries()["status"] in ("promoted", "rolled_back")

    def _stub_trainer(self) -> Path:
        path = self.directory / "stub-trainer"
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -m learning.flywheel_trainer "$2"\n')
        path.chmod(0o700)
        return path

    def _stub_base(self) -> Path:
        folder = self.directory / "stub-base"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}\n")
        return folder


def say(line: str) -> None:
    """To whoever watches."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 where every step worked and the routed line did what it is for."""
    options = _parser().parse_args(arguments)
    kept = options.work_dir
    directory = kept or Path(tempfile.mkdtemp(prefix="pointsman-flywheel-"))
    directory.mkdir(parents=True, exist_ok=True)
    given = {name: getattr(options, name) for name in Size._fields}
    usual = SMALL if options.stub else Size()
    size = usual._replace(**{name: value for name, value in given.items() if value is not None})
    wheel = Flywheel(directory, size, is_stub=options.stub)
    if options.begin is not None:
        wheel.state.begin_at(options.begin, [step.name for step in wheel.steps])
        wheel.is_fresh = all(one.name != "train" for one in wheel.state.done)
    try:
        if not options.stub:
            say("installing: the base model is fetched and unpacked, once for this machine")
            prepare_base(PYTHON)
        is_met = wheel.run()
    except (PointsmanError, OSError) as error:
        say(f"failed: {error} (files in {directory})")
        return 1
    for one in wheel.state.done:
        say(f"{one.wall_s:7.1f} s  {one.name} (processor {one.cpu_s:.0f} s, load {one.load:.1f})")
    total_s, cpu_s = (sum(part) for part in zip(
        *((one.wall_s, one.cpu_s) for one in wheel.state.done), strict=True
    ))  # fmt: skip
    say(f"{total_s:7.1f} s  in all (processor {cpu_s:.0f} s, {os.cpu_count()} cores)")
    if kept is None:
        shutil.rmtree(directory)
    return 0 if is_met else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--work-dir", type=Path, help="keep the run there and go on in it")
    parser.add_argument("--from", dest="begin", metavar="STEP", help="do it and the rest anew")
    parser.add_argument("--stub", action="store_true", help="without training and local model")
    for name, value in Size()._asdict().items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value))
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
