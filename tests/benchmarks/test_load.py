"""The load generator against its upstream, and against answers that are wrong."""

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.load import REQUEST_BYTES, LoadGenerator, Scenario, request_body, scenarios
from benchmarks.servers import Server

REQUESTS = 200


def test_closed_loop_gets_every_answer_right(generator: LoadGenerator, upstream: Server) -> None:
    result = generator.run(Scenario("closed", "", REQUESTS, connections=8), port=upstream.port)
    assert (result.sent, result.answered, result.right) == (REQUESTS, REQUESTS, REQUESTS)
    assert result.latency_us.count == REQUESTS
    assert 0 < result.latency_us.p50 <= result.latency_us.p99 <= result.latency_us.max


def test_open_loop_keeps_its_rate(generator: LoadGenerator, upstream: Server) -> None:
    scenario = Scenario("open", "", REQUESTS, connections=8, rate=1000.0, warmup=50)
    result = generator.run(scenario, port=upstream.port)
    assert (result.right, result.unsent) == (REQUESTS, 0)
    assert result.seconds >= (REQUESTS - 1) / 1000
    assert result.latency_us.count == REQUESTS - 50


def test_open_loop_charges_a_stall_to_all_it_held_up(generator: LoadGenerator) -> None:
    scenario = Scenario("stream", "", 10, connections=1, rate=100.0, chunks=2)
    with answering(stream(event(0), LAST, DONE), delay_s=0.05) as port:
        result = generator.run(scenario, port=port)
    assert (
        result.latency_us.max > 350_000
    )  # the tenth was meant to leave after 90 ms, and left at 450


def test_open_loop_ends_with_its_time(generator: LoadGenerator, upstream: Server) -> None:
    scenario = Scenario("open", "", 100_000, connections=8, rate=1000.0, seconds=0.2)
    result = generator.run(scenario, port=upstream.port)
    assert result.sent + result.unsent == 200
    assert result.right == result.sent


@pytest.mark.parametrize(("include_usage", "events"), [(True, 14), (False, 13)])
@pytest.mark.parametrize("interval_us", [0, 500])
def test_streams_are_counted_event_by_event(
    generator: LoadGenerator, upstream: Server, include_usage: bool, events: int, interval_us: int
) -> None:
    scenario = Scenario(
        "stream",
        "",
        REQUESTS,
        connections=8,
        chunks=10,
        interval_us=interval_us,
        include_usage=include_usage,
    )
    result = generator.run(scenario, port=upstream.port)
    assert result.right == REQUESTS
    assert result.events == REQUESTS * events  # role, 10 of content, finish, (usage), [DONE]


def test_requests_are_chat_bodies_of_one_size() -> None:
    for scenario in scenarios(quick=True):
        text = request_body(scenario)
        body = json.loads(text)
        assert len(text) == REQUEST_BYTES
        assert body.get("stream", False) == scenario.is_stream
        assert text.count("#" * 10) == 1


def completion(content: str) -> bytes:
    body = json.dumps({"content": content})
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


def stream(*events: str, end: str = "0\r\n\r\n") -> bytes:
    chunks = "".join(f"{len(event) + 2:x}\r\n{event}\n\n\r\n" for event in events)
    head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    return (head + chunks + end).encode()


def event(number: int, sequence: int = 1, finish: str = "null") -> str:
    delta = json.dumps({"content": f" w{number:010d}"}, separators=(",", ":"))
    return (
        f'data: {{"id":"chatcmpl-bench-{sequence:010d}","delta":{delta},"finish_reason":{finish}}}'
    )


DONE = "data: [DONE]"
LAST = event(1, finish='"stop"')


@contextmanager
def answering(answer: bytes, *, closes: bool = False, delay_s: float = 0.0) -> Iterator[int]:
    """A server that gives every request the same bytes; yields its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65536):
                time.sleep(delay_s)
                self.request.sendall(answer)
                if closes:
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_right_stream_written_by_hand_is_right(generator: LoadGenerator) -> None:
    scenario = Scenario("stream", "", 1, connections=1, chunks=2)
    with answering(stream(": comment", event(0), LAST, DONE)) as port:
        result = generator.run(scenario, port=port)
    assert (result.right, result.events) == (1, 3)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(stream(event(0), LAST), id="no [DONE]"),
        pytest.param(stream(event(0), event(1), DONE), id="no finish_reason"),
        pytest.param(stream(event(0, finish='"stop"'), DONE), id="one lost"),
        pytest.param(stream(event(0), event(0), LAST, DONE), id="one doubled"),
        pytest.param(stream(event(1), event(0, finish='"stop"'), DONE), id="swapped"),
        pytest.param(stream(event(0, 2), LAST, DONE), id="of another request"),
        pytest.param(stream(event(0), LAST, DONE, DONE), id="after [DONE]"),
        pytest.param(stream(event(0)[:-1], LAST, DONE), id="torn"),
    ],
)
def test_a_wrong_stream_is_an_error(generator: LoadGenerator, answer: bytes) -> None:
    scenario = Scenario("stream", "", 1, connections=1, chunks=2)
    with answering(answer) as port:
        result = generator.run(scenario, port=port)
    assert (result.answered, result.wrong_body, result.right) == (1, 1, 0)


@pytest.mark.parametrize(
    ("answer", "closes", "counter"),
    [
        (completion("not what was expected"), False, "wrong_body"),
        (b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\n{}", False, "wrong_status"),
        (b"HTTP/1.1 200 OK\r\n\r\nno length at all", False, "broken"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", False, "broken"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}", True, "closed"),
    ],
)
def test_wrong_answers_are_counted_by_kind(
    generator: LoadGenerator, answer: bytes, closes: bool, counter: str
) -> None:
    with answering(answer, closes=closes) as port:
        result = generator.run(Scenario("closed", "", 3, connections=1), port=port)
    assert getattr(result, counter) == 3
    assert result.errors == 3
