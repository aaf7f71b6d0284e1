"""A real data plane for a test: on uvloop in a thread of its own, with a real journal.

    with Plane(tmp_path, one_backend(upstream.base_url)) as plane:
        with plane.client() as client:
            answer = client.ask(CHAT)
        (kept,) = plane.wait_for_records(1)

Nothing is replaced: clients come over 127.0.0.1, records are read back from the journal's
files. An error that reaches the event loop fails the test.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import uvloop
from openai import OpenAI

from adapters.simulated.server import Simulator
from proxy.configuration import Configuration, parse_configuration
from proxy.keys import Keys, load_keys
from proxy.listening import Address
from proxy.server import DataPlane
from proxy.worker import listener_tls
from telemetry.frames import Frame, Kind
from telemetry.journal import Journal
from telemetry.record import BodyPart, RequestRecord
from telemetry.segments import SegmentReader, list_segments
from tests.support.raw_client import Answer, RawClient
from tests.support.scripted import (
    LAST_CHUNK,
    Script,
    ScriptedUpstream,
    chunk,
    chunked_head,
    response,
)
from tests.support.simulated import playing

WAIT_S = 5.0
Result = TypeVar("Result")


@dataclass(frozen=True)
class Kept:
    """One record with its response put together."""

    record: RequestRecord
    response: bytes | None

    @property
    def response_sha256(self) -> bytes | None:
        """Of the bytes the client received, kept or only their digest."""
        if self.response is not None:
            return sha256(self.response).digest()
        return self.record.response_sha256

    @property
    def ended(self) -> tuple[str, bool, int | None, str | None]:
        """(status, complete, http_status, error_type)."""
        record = self.record
        return record.status, record.complete, record.http_status, record.error_type

    @property
    def tried(self) -> list[tuple[str, str, str | None]]:
        """(kind, backend, error_type) of every attempt."""
        return [(one.kind, one.backend, one.error_type) for one in self.record.attempts]


class Plane:
    """One worker's data plane; a context manager. `text` is the configuration."""

    def __init__(self, directory: Path, text: str, *, environment: Mapping[str, str] = {}) -> None:
        self.directory = directory
        self.configuration = parse_configuration(
            text, file=directory / "config.yaml", environment=environment
        )
        self.data_plane: DataPlane
        self.loop = uvloop.new_event_loop()
        self.faults: list[dict[str, Any]] = []
        """What reached the event loop's exception handler."""
        self.port = 0
        self._stop: asyncio.Event
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(WAIT_S)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None:
            assert self._failure is None
            assert not self.faults, self.faults

    def stop(self) -> None:
        """Drop every connection, flush the journal; harmless when said twice."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "the plane's loop is stuck"

    # -- what tests use -----------------------------------------------------------------------

    def client(self) -> RawClient:
        """A new connection."""
        return RawClient(self.port)

    def openai(self, key: str = "none", **options: Any) -> OpenAI:
        """The official client, without retries of its own."""
        url = f"http://127.0.0.1:{self.port}/v1"
        return OpenAI(base_url=url, api_key=key, **{"max_retries": 0, **options})

    def call(self, function: Callable[[], Result]) -> Result:
        """Run `function` in the plane's loop."""
        done: list[Result] = []
        finished = threading.Event()

        def run() -> None:
            try:
                done.append(function())
            finally:
                finished.set()

        self.loop.call_soon_threadsafe(run)
        assert finished.wait(WAIT_S)
        return done[0]

    def count(self, name: str, **labels: str) -> float:
        """A counter's value, 0 where it was never raised."""
        key = (f"pointsman_{name}", tuple(sorted(labels.items())))
        return self.call(lambda: self.data_plane.counters().get(key, 0.0))

    def reconfigure(self, text: str) -> None:
        """Swap another configuration in, as a reload does."""
        configuration = parse_configuration(
            text, file=self.directory / "config.yaml", environment={}
        )
        self.call(lambda: self.data_plane.configure(configuration, keys_of(configuration)))

    def records(self) -> list[Kept]:
        """What the journal's files hold now, in the order it was written."""
        return read_records(self.configuration.capture.directory)

    def wait_for_records(self, count: int) -> list[Kept]:
        """Exactly `count` records. Raises AssertionError where they do not come in time."""
        found = self.wait_until(lambda: found if len(found := self.records()) >= count else None)
        assert len(found) == count, [kept.ended for kept in found]
        return found

    def only_record(self) -> Kept:
        """The one record there is."""
        return self.wait_for_records(1)[0]

    def wait_until(self, condition: Callable[[], Result], timeout_s: float = WAIT_S) -> Result:
        """Poll until `condition` is true; returns what it gave."""
        deadline_s = time.monotonic() + timeout_s
        while not (found := condition()):
            assert time.monotonic() < deadline_s, "waited in vain"
            time.sleep(0.002)
        return found

    # -- inside -------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(lambda loop, context: self.faults.append(context))
        try:
            self.loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 - the thread's boundary: the test raises it
            self._failure = error
            self._ready.set()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        simulated = self.configuration.simulated
        if not simulated:
            await self._serve_on(self.configuration)
            return
        async with playing(Simulator(simulated)) as (host, port):
            await self._serve_on(self.configuration.with_simulator(Address(host, port)))

    async def _serve_on(self, configuration: Configuration) -> None:
        capture = configuration.capture
        capture.directory.mkdir(mode=0o700, exist_ok=True)
        journal = Journal(
            capture.directory,
            node="test",
            worker=0,
            durability=capture.durability,
            on_error=capture.on_error,
            loop=self.loop,
        )
        plane = DataPlane(loop=self.loop, journal=journal, worker=0)
        plane.configure(configuration, keys_of(configuration))
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        await plane.listen(listening, listener_tls(configuration.listen.tls))
        self.port, self.data_plane = listening.getsockname()[1], plane
        self._ready.set()
        await self._stop.wait()
        plane.close()
        await asyncio.sleep(0.01)
        journal.close()


def keys_of(configuration: Configuration) -> Keys | None:
    """The keys a worker would load."""
    return None if configuration.keys_file is None else load_keys(configuration.keys_file)


def read_records(directory: Path) -> list[Kept]:
    """Records of all segments in the journal, their responses joined from parts."""
    parts: dict[str, list[bytes]] = {}
    kept: list[Kept] = []
    for path in list_segments(directory / "journal"):
        with SegmentReader(path) as reader:
            size = reader.size()
            start = sequence = 0
            while start < size:
                scan = reader.read(start, sequence, size=size, is_sealed=False)
                for frame in scan.found:
                    assert isinstance(frame, Frame), frame
                    sequence = frame.sequence + 1
                    _take(frame, parts, kept)
                if scan.consumed == start:
                    break  # the last frame is still being written
                start = scan.consumed
    return kept


def _take(frame: Frame, parts: dict[str, list[bytes]], kept: list[Kept]) -> None:
    if frame.kind == Kind.PART:
        part = msgspec.msgpack.decode(frame.payload, type=BodyPart)
        pieces = parts.setdefault(part.id, [])
        assert part.index == len(pieces)
        pieces.append(part.data)
    elif frame.kind == Kind.REQUEST:
        record = msgspec.msgpack.decode(frame.payload, type=RequestRecord)
        pieces = parts.pop(record.id, [])
        if record.capture == "full":
            assert record.response_parts == len(pieces)
        whole = None if record.response is None else b"".join([*pieces, record.response])
        kept.append(Kept(record, whole))


# -- configurations -------------------------------------------------------------------------------


def config(routes: str, *, top: str = "", **backends: str) -> str:
    """A file with `backends` (name=URL or a whole declaration) and the body of `routes:`."""
    lines = []
    for name, declared in backends.items():
        if declared.startswith("http"):
            declared = f"adapter: openai, base_url: '{declared}', model: m-{name}"
            declared += ", price: {input: 1, output: 2}"
        lines.append(f"  {name}: {{{declared}}}\n")
    return (
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
        f"{top}\nbackends:\n{''.join(lines)}routes:\n{routes}\n"
    )


def one_backend(url: str, route: str = "", *, top: str = "") -> str:
    """Backend `a` alone; `route` are more members of the default route, in flow style."""
    return config(f"  default: {{candidates: [a]{_more(route)}}}", top=top, a=url)


def two_backends(url_a: str, url_b: str, route: str = "on_failure: [b]", *, top: str = "") -> str:
    """Backend `a`, with `b` behind it."""
    return config(f"  default: {{candidates: [a]{_more(route)}}}", top=top, a=url_a, b=url_b)


def _more(route: str) -> str:
    return f", {route}" if route else ""


# -- requests and answers -------------------------------------------------------------------------

ASKED: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
STREAMED: dict[str, Any] = {**ASKED, "stream": True}


def completion(text: str = "hello", finish: str = "stop", **more: Any) -> bytes:
    """A chat completion of three tokens in, five out."""
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "real-model",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
            **more,
        }
    ).encode()


def event(text: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One chunk of a streamed chat completion, as an event."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "real-model",
        "choices": [choice],
        **more,
    }
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def usage_event() -> bytes:
    """The chunk that carries usage and nothing else."""
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    return event(choices=[], usage=usage)


DONE = b"data: [DONE]\n\n"
EVENTS = event("he", usage=None) + event("llo", usage=None) + event(finish="stop", usage=None)


def whole_answer(text: str = "hello", *headers: str) -> bytes:
    """An HTTP answer with a whole completion."""
    return response(completion(text), *headers)


def stream_answer(*events: bytes, end: bytes = LAST_CHUNK) -> bytes:
    """An HTTP answer that streams these, one chunk each."""
    return chunked_head() + b"".join(map(chunk, events)) + end


def error_answer(status: str, *headers: str, code: str = "c", type: str = "server_error") -> bytes:
    """An HTTP answer with an error in OpenAI's shape."""
    error = {"message": "said by the backend", "type": type, "param": None, "code": code}
    return response(json.dumps({"error": error}).encode(), *headers, status=status)


@contextmanager
def serving(
    directory: Path, *scripts: Script, route: str = "", top: str = ""
) -> Iterator[tuple[ScriptedUpstream, Plane]]:
    """A plane in front of one scripted backend `a`."""
    with (
        ScriptedUpstream(*scripts) as upstream,
        Plane(directory, one_backend(upstream.base_url, route, top=top)) as plane,
    ):
        yield upstream, plane


@contextmanager
def serving_two(
    directory: Path, first: Script, second: Script, route: str = "on_failure: [b]", *, top: str = ""
) -> Iterator[tuple[ScriptedUpstream, ScriptedUpstream, Plane]]:
    """A plane with backend `a` in front and `b` behind it."""
    with (
        ScriptedUpstream(first) as a,
        ScriptedUpstream(second) as b,
        Plane(directory, two_backends(a.base_url, b.base_url, route, top=top)) as plane,
    ):
        yield a, b, plane


def ask(plane: Plane, body: bytes | dict[str, Any] = ASKED, *headers: str) -> Answer:
    """One request on a connection of its own."""
    with plane.client() as client:
        return client.ask(body, *headers)
