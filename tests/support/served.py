"""A real `pointsman serve` for a test: started, waited for, talked to, and always ended."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WAIT_S = 15.0
SERVE = (sys.executable, "-m", "proxy.cli", "serve")
_READY = re.compile(
    r"pointsman ready listen=(https?)://(\S+) admin=http://(\S+) workers=(\d+) policy=([0-9a-f]+)\n"
)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


class Served:
    """One server process. Use it as a context manager.

    `before` are words before the command, which must end in becoming it (`unshare`, `setpriv`).
    """

    def __init__(
        self,
        config: Path,
        *,
        workers: int = 1,
        environment: Mapping[str, str] = {},
        before: Sequence[str] = (),
    ) -> None:
        self.directory = config.parent / "data"
        self.log_path = config.parent / "log"
        started_s = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*before, *SERVE, "--config", str(config), "--workers", str(workers)],
                cwd=Path(__file__).resolve().parents[2],
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.ready_s = time.monotonic() - started_s
        match = _READY.fullmatch(self.line)
        assert match is not None, f"{self.line!r}; {self.log()}"
        self.scheme, self.listen, self.admin, workers_text, self.policy = match.groups()
        self.workers = int(workers_text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def log(self) -> str:
        """What it wrote to standard error."""
        return self.log_path.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines of one event."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def get(self, path: str, *, port: str = "admin", method: str = "GET") -> tuple[int, Any]:
        """Status and decoded body of one request to the admin port (or to `listen`)."""
        status, _, body = self.exchange(path, port=port, method=method)
        try:
            return status, json.loads(body)
        except ValueError:
            return status, body.decode()

    def exchange(
        self,
        path: str,
        *,
        port: str = "admin",
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(getattr(self, port), timeout=WAIT_S)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, names, answer.read()
        finally:
            connection.close()

    def chat(self, text: str = "Say hi", **fields: Any) -> tuple[int, Mapping[str, str], bytes]:
        """One chat completion over the data port."""
        message = {"role": "user", "content": text}
        body = json.dumps({"model": "auto", "messages": [message], **fields}).encode()
        headers = {"content-type": "application/json"}
        path = "/v1/chat/completions"
        return self.exchange(path, port="listen", method="POST", body=body, headers=headers)

    def chat_in_vain(self, text: str) -> None:
        """The same where the connection is bound to break."""
        with suppress(OSError, http.client.HTTPException):
            self.chat(text)

    def children(self) -> dict[str, int]:
        """Process ids by title, as `worker 0`."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                name_end = stat.read_text().rsplit(")", 1)[1].split()
                title = (stat.parent / "cmdline").read_bytes().rstrip(b"\0 ").decode()
            except OSError:
                continue  # it ended while we looked
            if int(name_end[1]) == self.process.pid and name_end[0] != "Z":
                found[title.removeprefix("pointsman: ")] = int(stat.parent.name)
        return found

    def kill_child(self, name: str) -> int:
        """kill -9 one child; returns its process id."""
        pid = self.children()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_child(self, name: str, *, other_than: int) -> int:
        """Wait until a new process has that title."""
        deadline = time.monotonic() + WAIT_S
        while True:
            pid = self.children().get(name, other_than)
            if pid != other_than:
                return pid
            assert time.monotonic() < deadline, f"no new {name}; {self.log()}"
            time.sleep(0.01)

    def wait_until(self, path: str, condition: Any) -> Any:
        """Ask the admin port until its JSON fulfils a condition; returns that answer."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                _, answer = self.get(path)
                if condition(answer):
                    return answer
            except OSError:
                answer = None  # being restarted
            assert time.monotonic() < deadline, f"{path}: {answer}; {self.log()}"
            time.sleep(0.02)
