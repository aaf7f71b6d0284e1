"""What is sent: the scenarios, the request bodies, and the C load generator that sends them."""

import json
import subprocess
from pathlib import Path

import msgspec

from . import processes
from .programs import Programs

REQUEST_BYTES = 1024
TIMEOUT_S = 20.0
SEQUENCE = "#" * 10


class Scenario(msgspec.Struct, frozen=True):
    """One kind of load; `rate` 0 is closed loop, `chunks` 0 is no stream."""

    name: str
    title: str
    requests: int
    connections: int = 64
    rate: float = 0.0
    chunks: int = 0
    interval_us: int = 0
    include_usage: bool = True
    seconds: float = 60.0
    warmup: int = 0

    @property
    def is_stream(self) -> bool:
        """Whether answers are SSE."""
        return self.chunks > 0


class Quantiles(msgspec.Struct, frozen=True):
    """Latencies in us."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class LoadResult(msgspec.Struct, frozen=True):
    """What the load generator counted; `events` are SSE events, [DONE] and usage included."""

    seconds: float
    own_cpu_us: float
    sent: int
    unsent: int
    answered: int
    right: int
    wrong_status: int
    wrong_body: int
    broken: int
    closed: int
    timed_out: int
    refused: int
    reconnects: int
    events: int
    bytes: int
    latency_us: Quantiles
    first_byte_us: Quantiles

    @property
    def errors(self) -> int:
        """Requests without the right answer."""
        return self.sent - self.right


def request_body(scenario: Scenario) -> str:
    """A chat request of REQUEST_BYTES whose prompt tells the upstream what to send."""
    marker = f"bench-{SEQUENCE}-{scenario.chunks:05d}-{scenario.interval_us:07d}"
    body: dict[str, object] = {
        "model": "bench",
        "messages": [
            {"role": "system", "content": "You read loan letters and answer briefly."},
            {"role": "user", "content": f"{marker} "},
        ],
        "temperature": 0,
        "max_tokens": 256,
    }
    if scenario.is_stream:
        body["stream"] = True
        if scenario.include_usage:
            body["stream_options"] = {"include_usage": True}
    missing = REQUEST_BYTES - len(json.dumps(body))
    words = "The payoff amount stated in the letter is good through the end of the month. "
    messages = body["messages"]
    assert isinstance(messages, list)
    messages[1]["content"] += (words * (missing // len(words) + 1))[:missing]
    return json.dumps(body)


class LoadGenerator:
    """Runs the C load generator; every request of a session has a number of its own."""

    def __init__(self, programs: Programs, *, directory: Path, core: int | None, body: bytes):
        self._program = programs.load
        self._directory = directory
        self._core = core
        self._next_sequence = 1
        self._expected = directory / "expected.json"
        self._expected.write_bytes(body)

    def run(self, scenario: Scenario, *, port: int) -> LoadResult:
        """Sends the scenario's requests to a port on loopback.

        Raises RuntimeError when the generator itself failed; wrong answers are counted.
        """
        body = self._directory / f"{scenario.name}.json"
        body.write_text(request_body(scenario))
        done = subprocess.run(
            processes.pinned(self._command(scenario, port, body), self._core),
            capture_output=True,
            text=True,
            check=False,
            timeout=scenario.seconds + 2 * TIMEOUT_S,
        )
        self._next_sequence += scenario.requests
        if not done.stdout:
            raise RuntimeError(f"the load generator failed: {done.stderr.strip()}")
        if done.stderr:
            print(done.stderr.strip())
        return msgspec.json.decode(done.stdout, type=LoadResult)

    def _command(self, scenario: Scenario, port: int, body: Path) -> list[str]:
        numbers = {
            "--port": port,
            "--connections": scenario.connections,
            "--requests": scenario.requests,
            "--seconds": scenario.seconds,
            "--rate": scenario.rate,
            "--warmup": scenario.warmup,
            "--first-sequence": self._next_sequence,
            "--timeout-s": TIMEOUT_S,
        }
        command = [str(self._program), "--body", str(body)]
        for flag, number in numbers.items():
            command += [flag, str(number)]
        if scenario.is_stream:
            return [*command, "--stream-chunks", str(scenario.chunks)]
        return [*command, "--expect", str(self._expected)]


def scenarios(*, quick: bool) -> list[Scenario]:
    """The loads of a run, in order. Quick ones only show that everything works."""
    scale = 1 if not quick else 8
    slow_streams = 128 if not quick else 64  # two seconds for each 64 of them
    return [
        Scenario("closed", "closed loop, 64 connections, 1 KB in, 1 KB out", 40_000 // scale),
        Scenario(
            "open",
            "open loop, 500 requests/s, latency from the intended send time",
            3_000 // scale,
            connections=16,
            rate=500.0,
            warmup=100,
        ),
        Scenario(
            "stream",
            "64 streams, 3,200 chunks/s",
            slow_streams,
            chunks=100,
            interval_us=20_000,
        ),
        Scenario(
            "stream-fast",
            "64 streams, 32,000 chunks/s",
            1_280 // scale,
            chunks=100,
            interval_us=2_000,
        ),
        Scenario(
            "stream-burst",
            "64 streams, as fast as they go (many chunks a read: nobody's cost of one chunk)",
            5_120 // scale,
            chunks=100,
        ),
        Scenario(
            "stream-hidden",
            "64 streams, 3,200 chunks/s, usage not asked for (asked upstream, hidden again)",
            slow_streams,
            chunks=100,
            interval_us=20_000,
            include_usage=False,
        ),
    ]
