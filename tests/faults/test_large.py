"""F20 and F21: answers and requests too large to be held in memory, or to be read at once."""

import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Self

import pytest

from tests.support.command import all_captures
from tests.support.ledger import Wire, chat_body, chat_request
from tests.support.plane import DONE, completion, config, event, whole_answer
from tests.support.resources import Peaks
from tests.support.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    Step,
    chunk,
    chunked_head,
    repeat,
    request,
    response,
    swallow,
    until_closed,
)
from tests.support.served import Served
from tests.support.simple_config import write_config

MIB = 1 << 20
BLOCK = event("x" * 8000)


def served_with(directory: Path, url: str, *, top: str = "") -> Served:
    """One worker in front of one backend; `quick` is another that is always well."""
    text = config("  default: {candidates: [a]}", top=top, a=url)
    return Served(write_config(directory, text))


def whole(mebibytes: int) -> tuple[list[Step], str]:
    """An answer that is one JSON text of this size; and its digest."""
    said = completion(padding="PADDING").split(b"PADDING")
    filler = b"x" * MIB
    length = sum(map(len, said)) + len(filler) * mebibytes
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    digest = sha256(said[0])
    for _ in range(mebibytes):
        digest.update(filler)
    digest.update(said[1])
    steps = [request, head.encode(), said[0], repeat(filler, mebibytes), said[1]]
    return steps, digest.hexdigest()


def stream(mebibytes: int) -> tuple[list[Step], str]:
    """A stream of events of this size in all; and its digest."""
    block = BLOCK * (MIB // len(BLOCK))
    digest = sha256()
    for _ in range(mebibytes):
        digest.update(block)
    end = event(finish="stop") + DONE
    digest.update(end)
    steps = [request, chunked_head(), repeat(chunk(block), mebibytes), chunk(end), LAST_CHUNK]
    return steps, digest.hexdigest()


class Digesting(Wire):
    """Reads an answer without keeping it."""

    def digest(self) -> tuple[int, str]:
        """Bytes and digest of the next answer's body. Raises BrokenOff."""
        _, headers = self.read_head()
        digest = sha256()
        size = 0
        length = int(headers.get("content-length", "0"))
        sizes = iter([length]) if length else iter(lambda: int(self._until(b"\r\n"), 16), 0)
        for left in sizes:
            size += left
            while left:
                if not self._unread:
                    self._receive()
                data, self._unread = self._unread[:left], self._unread[left:]
                digest.update(data)
                left -= len(data)
            if not length:
                self._exactly(2)
        return size, digest.hexdigest()


def download(tmp_path: Path, said: tuple[list[Step], str], mebibytes: int, *, streams: bool) -> int:
    """Fetch it; gives what the worker grew by."""
    steps, digest = said
    with ScriptedUpstream(steps) as up, served_with(tmp_path, up.base_url) as served:
        worker = served.children()["worker 0"]
        with Digesting(served.listen) as wire, Peaks([worker]) as peaks:
            wire.send(chat_request(chat_body(stream=streams)))
            size, got = wire.digest()
        assert size >= mebibytes * MIB * 0.99
        assert got == digest
        (capture,) = all_captures(tmp_path / "config.yaml")
        assert (capture["status"], capture["complete"]) == ("ok", True)
        assert capture["response_sha256"] == digest
    return peaks.grown(worker)


GROWTH_MAX = 24 * MIB
"""What 4 MiB held to be judged, a megabyte on its way to the journal, and the allocator come to."""


@pytest.mark.parametrize("mebibytes", [pytest.param(24), pytest.param(200, marks=pytest.mark.slow)])
def test_f20_a_large_answer_holds_memory_flat(tmp_path: Path, mebibytes: int) -> None:
    assert download(tmp_path, whole(mebibytes), mebibytes, streams=False) < GROWTH_MAX


@pytest.mark.parametrize(
    "mebibytes", [pytest.param(64), pytest.param(1024, marks=pytest.mark.slow)]
)
def test_f20_a_long_stream_holds_memory_flat(tmp_path: Path, mebibytes: int) -> None:
    assert download(tmp_path, stream(mebibytes), mebibytes, streams=True) < GROWTH_MAX


UPLOADS = "passthrough: [{path: '/v1/files*', backend: a}]"


@pytest.mark.parametrize("mebibytes", [pytest.param(48), pytest.param(200, marks=pytest.mark.slow)])
def test_f20_a_large_upload_passes_through_and_holds_memory_flat(
    tmp_path: Path, mebibytes: int
) -> None:
    """Far over the limit of bodies that are read: it is not held, and its backend sets the pace."""
    filler = b"x" * MIB
    digest = sha256(filler * mebibytes).hexdigest()
    head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: {mebibytes * MIB}\r\n\r\n"
    with (
        ScriptedUpstream([swallow, response(b'{"id":"file-1"}')]) as up,
        served_with(tmp_path, up.base_url, top=UPLOADS) as served,
    ):
        worker = served.children()["worker 0"]
        with Peaks([worker]) as peaks, Wire(served.listen) as wire:
            wire.send(head.encode())
            for _ in range(mebibytes):
                wire.send(filler)
            answer = wire.read_answer()
        assert (answer.status, answer.body) == (200, b'{"id":"file-1"}')
        assert up.connections[0].swallowed == [digest]
        (capture,) = all_captures(tmp_path / "config.yaml")
        assert (capture["status"], capture["request_sha256"]) == ("ok", digest)
    assert peaks.grown(worker) < GROWTH_MAX


READERS = 16
SLOW_BYTES_PER_S = 10_000


@pytest.mark.parametrize("span_s", [pytest.param(1.5), pytest.param(20.0, marks=pytest.mark.slow)])
def test_f20_slow_readers_hold_half_a_megabyte_each(tmp_path: Path, span_s: float) -> None:
    steps, _ = stream(1024)
    with ScriptedUpstream(steps) as up, served_with(tmp_path, up.base_url) as served:
        worker = served.children()["worker 0"]
        wires = [Wire(served.listen, receive_buffer=16_384) for _ in range(READERS)]
        with Peaks([worker]) as peaks:
            for wire in wires:
                wire.send(chat_request(chat_body(stream=True)))
            until_s = time.monotonic() + span_s
            while time.monotonic() < until_s:
                time.sleep(0.1)
                for wire in wires:
                    wire.read_some(SLOW_BYTES_PER_S // 10)
        sent = [len(one.requests) for one in up.connections]
        assert sent == [1] * READERS
        for wire in wires:
            wire.close()
        for number in range(READERS):
            assert up.wait_until_finished(number + 1).closed_how is not None
        captures = all_captures(tmp_path / "config.yaml")
        assert {(one["status"], one["complete"]) for one in captures} == {("client_gone", False)}
        assert len(captures) == READERS
    assert peaks.grown(worker) < READERS * 512 * 1024


# -- F21: large requests --------------------------------------------------------------------------

STALL_GOAL_S = 0.02
STALL_MAX_S = 0.15
"""The goal, and a gate for a machine that does little else; on a busy one the keeper, which has
nothing to do with large requests, waits as long for its turn."""


class Pings:
    """Asks one process for its health over and over; `longest_s` is how long it was deaf."""

    def __init__(self, address: str) -> None:
        self.longest_s = 0.0
        self._address = address
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        time.sleep(0.1)
        self.longest_s = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(5)

    def _ask(self) -> None:
        asked = f"GET /healthz HTTP/1.1\r\nhost: {self._address}\r\n\r\n".encode()
        with Wire(self._address) as wire:
            while not self._is_over.wait(0.001):
                started_s = time.monotonic()
                wire.send(asked)
                assert wire.read_answer().status == 200
                self.longest_s = max(self.longest_s, time.monotonic() - started_s)


class Stalls:
    """Of the worker, beside those of the keeper at the same time."""

    def __init__(self, served: Served) -> None:
        self._worker, self._keeper = Pings(served.listen), Pings(served.admin)

    def __enter__(self) -> Self:
        self._worker.__enter__()
        self._keeper.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.__exit__()
        self._keeper.__exit__()
        longest_s, others_s = self._worker.longest_s, self._keeper.longest_s
        assert longest_s < max(STALL_MAX_S, 2 * others_s), (longest_s, others_s)


def messages(count: int, size: int) -> bytes:
    """A request of so many messages of so many bytes."""
    one = b'{"role":"user","content":"%b"}' % (b"x" * size)
    return b'{"model":"auto","messages":[%b]}' % b",".join([one] * count)


REQUESTS = {
    "one message of 19 MiB": (1, 19 * MIB),
    "many of a kilobyte": (18_000, 1000),
    "half a million of nothing": (500_000, 1),
}


@pytest.mark.timed
def test_f21_large_requests_pass_and_nobody_else_waits(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([swallow, whole_answer()] * 3) as up,
        served_with(tmp_path, up.base_url) as served,
    ):
        wanted = []
        with Stalls(served), Wire(served.listen) as wire:
            for count, size in REQUESTS.values():
                body = messages(count, size)
                assert wire.ask(body).status == 200
                sent = body.replace(b'"auto"', b'"m-a"', 1)
                assert up.connections[0].swallowed[-1] == sha256(sent).hexdigest()
                wanted.append(sha256(body).hexdigest())
        captures = all_captures(tmp_path / "config.yaml")
        assert [one["request_sha256"] for one in captures] == wanted
        assert all(one["complete"] for one in captures)


@pytest.mark.timed
def test_f21_a_million_messages_are_over_the_limit_and_refused_unread(tmp_path: Path) -> None:
    body = messages(1_000_000, 1)
    with (
        ScriptedUpstream([until_closed]) as up,
        served_with(tmp_path, up.base_url) as served,
        Stalls(served),
        Wire(served.listen) as wire,
    ):
        wire.send(chat_request(body)[:1000])
        answer = wire.read_answer()
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert up.connections == []


@pytest.mark.timed
@pytest.mark.slow
def test_f21_a_million_messages_within_a_larger_limit_pass(tmp_path: Path) -> None:
    body = messages(1_000_000, 1)
    with (
        ScriptedUpstream([swallow, whole_answer()]) as up,
        served_with(tmp_path, up.base_url, top="limits: {body: 64MiB}") as served,
        Stalls(served),
        Wire(served.listen) as wire,
    ):
        assert wire.ask(body).status == 200
