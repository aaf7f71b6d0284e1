"""The `pointsman` command as an operator runs it: a process of its own, its output read."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

TIMEOUT_S = 300.0
PROGRAM = (sys.executable, "-m", "proxy.cli")
ROOT = Path(__file__).resolve().parents[2]


class Finished(NamedTuple):
    """How it ended and what it said."""

    code: int
    output: str
    errors: str


def command(*words: str, config: Path | None = None, text: str | None = None) -> Finished:
    """Run `pointsman WORDS --config CONFIG` to its end; `text` is its standard input."""
    options = ["--config", str(config)] if config else []
    done = subprocess.run(
        [*PROGRAM, *words, *options],
        cwd=ROOT,
        input=text or "",
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def start_command(*words: str, config: Path) -> subprocess.Popen[bytes]:
    """The same, still running, its output thrown away."""
    return subprocess.Popen(
        [*PROGRAM, *words, "--config", str(config)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def all_captures(config: Path, *words: str) -> list[dict[str, Any]]:
    """What `captures --json` prints."""
    finished = command("captures", "--json", *words, config=config)
    assert finished.code == 0, finished.errors
    return [json.loads(line) for line in finished.output.splitlines()]


@contextmanager
def follow_captures(config: Path) -> Iterator[Iterator[str]]:
    """Lines of `captures --json --follow` as they come, once it follows."""
    process = subprocess.Popen(
        [*PROGRAM, "captures", "--json", "--follow", "--config", str(config)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and so would whoever it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    assert process.stdout is not None
    try:
        yield iter(process.stdout.readline, "")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT_S)
        process.stdout.close()
