"""What the flywheel's steps stand on: commands in processes of their own, and a run's state.

The state is a file in the run's folder: which steps are done, what they found, how long each
took (wall clock and processor), so that a run that was broken off goes on behind its last step.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from pointsman.errors import PointsmanError

STATE: Final = "state.json"
READY_S_MAX: Final = 180.0
STOP_S_MAX: Final = 20.0

Found = dict[str, Any]


class FlywheelError(PointsmanError):
    """A step failed; the message is its own."""


class Done(msgspec.Struct, frozen=True):
    """One step that is behind us. Spans in seconds; `load`: of the machine, when it ended."""

    name: str
    wall_s: float
    cpu_s: float
    load: float
    found: Found


class Step(NamedTuple):
    """One step: what it is called, and what does it; it returns what later steps need."""

    name: str
    work: Callable[[], Found | None]


class State:
    """Which steps are done."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / STATE
        self.done: list[Done] = []
        if self._path.is_file():
            self.done = msgspec.json.decode(self._path.read_bytes(), type=list[Done])

    def begin_at(self, name: str, names: Sequence[str]) -> None:
        """Forget `name` and what comes behind it."""
        kept = set(names[: names.index(name)])
        self.done = [one for one in self.done if one.name in kept]

    def found(self, name: str) -> Found:
        """What a step that is done found. Raises FlywheelError."""
        for one in self.done:
            if one.name == name:
                return one.found
        raise FlywheelError(f"step {name!r} has not been done here")

    def run(self, step: Step, say: Callable[[str], None]) -> None:
        """Do it where it is not done, and write that down."""
        if any(one.name == step.name for one in self.done):
            say(f"== {step.name}: done before")
            return
        say(f"== {step.name}")
        started_s, cpu_s = time.monotonic(), _cpu_s()
        found = step.work() or {}
        wall_s = time.monotonic() - started_s
        self.done.append(Done(step.name, wall_s, _cpu_s() - cpu_s, os.getloadavg()[0], found))
        aside = self._path.with_name(f".{self._path.name}.part")
        aside.write_bytes(msgspec.json.encode(self.done))
        aside.replace(self._path)


def _cpu_s() -> float:
    """Of this process and of those that have ended."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = map(resource.getrusage, who)
    return sum(one.ru_utime + one.ru_stime for one in used)


def pointsman(config: Path, *words: str, allowed: tuple[int, ...] = (0,)) -> str:
    """A command's output. Raises FlywheelError with its last words."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy.cli", *words, "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in allowed:
        said = (done.stderr.strip() or done.stdout.strip())[-600:]
        raise FlywheelError(f"pointsman {words[0]}: {said}")
    return done.stdout


@contextmanager
def model_served(
    config: Path, name: str, *, threads: int, log: Path, template: Path | None = None
) -> Iterator[str]:
    """`pointsman model serve`; yields its base URL."""
    words = [] if template is None else ["--template", str(template)]
    command = [sys.executable, "-m", "proxy.cli", "model", "serve", name, "--threads",
               str(threads), *words, "--config", str(config)]  # fmt: skip
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=sink, text=True, env=unbuffered()
        )
        try:
            yield _address(process, log)
        finally:
            _end(process)


def unbuffered() -> dict[str, str]:
    """The environment of a process whose lines are waited for."""
    return os.environ | {"PYTHONUNBUFFERED": "1"}


def _address(process: "subprocess.Popen[str]", log: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        _, is_there, url = line.strip().rpartition(" is served at ")
        if is_there:
            return url
    raise FlywheelError(f"pointsman model serve did not become ready; see {log}")


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def read_json(text: str) -> Found:
    """The first JSON object of an output."""
    found: Found = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
    return found
