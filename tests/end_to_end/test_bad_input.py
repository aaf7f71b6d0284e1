"""Bad requests and bad backends against a served instance, with a neighbour who must not notice.

Every answer is that of WIRE's table of errors; every recordable request has a record, complete
only where the backend completed. One server for all cases; the neighbour asks on throughout.
"""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from telemetry import queries
from tests.support.command import all_captures, command
from tests.support.ledger import (
    Answer,
    BrokenOff,
    Ledger,
    Load,
    Wire,
    chat_body,
    chat_request,
    differences,
)
from tests.support.served import WAIT_S, Served
from tests.support.simple_config import write_config

BODY_MAX = 256 * 1024
CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
limits: {body: 256KiB}
backends:
  quick: {adapter: simulated, profile: {speed: instant}}
  closed: {adapter: openai, base_url: "http://127.0.0.1:1/v1", model: m}
routes:
  default:
    candidates: [quick]
    timeout: {total: 5s, first_token: 800ms, idle: 800ms}
"""
INVALID = "invalid_request_error"
SERVER = "server_error"


class Neighbour(NamedTuple):
    """The server of all cases and who asks beside them."""

    served: Served
    config: Path
    load: Load
    ledger: Ledger

    def capture(self, identifier: str) -> dict[str, Any]:
        """The record of one request, once it is folded."""
        deadline_s = time.monotonic() + WAIT_S
        while True:
            found = queries.capture(self.served.directory, identifier)
            if found is not None:
                return found
            assert time.monotonic() < deadline_s, f"{identifier} has no record"
            time.sleep(0.02)


def short(draw: random.Random) -> bytes:
    """What the neighbour asks."""
    return chat_body(f"neighbour {draw.random()}", stream=draw.random() < 0.5)


@pytest.fixture(scope="module")
def neighbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbour]:
    """In the end every good answer was whole, and is kept as it was seen."""
    directory = tmp_path_factory.mktemp("bad_input")
    config = write_config(directory, CONFIG)
    ledger = Ledger(directory / "ledger")
    with Served(config, workers=2) as served:
        load = Load(served.listen, ledger, seed=1, connections=2, make_body=short, pause_s=0.02)
        with load:
            yield Neighbour(served, config, load, ledger)
        assert load.failures == []
        assert {entry.status for entry in ledger.entries.values()} == {200}
        assert differences(ledger, all_captures(config, "--bodies")) == []
        assert command("verify", "--deep", config=config).code == 0
        assert served.events("child_died") == []
        assert served.events("request_crashed") == []
        assert "Traceback" not in served.log()
        assert CANARY not in served.log()
    ledger.close()


CANARY = "canary-4711"


# -- what clients do wrong -------------------------------------------------------------------------

BODIES = {
    "empty": b"",
    "not JSON": b"{",
    "text": b"hello " + CANARY.encode(),
    "cut": chat_body(CANARY)[:-1],
    "an array": b"[1, 2]",
    "a number": b"17",
    "null": b"null",
    "no model": b'{"messages": []}',
    "model a number": b'{"model": 4, "messages": []}',
    "model null": b'{"model": null, "messages": []}',
    "model a list": b'{"model": ["auto"], "messages": []}',
    "stream a word": chat_body(stream="yes"),
    "stream a number": chat_body(stream=1),
    "UTF-16": chat_body().decode().encode("utf-16"),
    "rubbish behind": chat_body() + b"}",
    "two bodies": chat_body() * 2,
    "deep": b'{"model": "auto", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "NaN": chat_body(temperature=float("nan")),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_cannot_be_read_is_refused_with_a_record(
    neighbour: Neighbour, name: str
) -> None:
    with Wire(neighbour.served.listen) as wire:
        answer = wire.ask(BODIES[name])
        assert (answer.status, answer.error["type"]) == (400, INVALID)
        assert_is_clean(answer)
        if name.startswith(("no model", "model")):
            assert answer.error["param"] == "model"
        assert wire.ask(chat_body()).status == 200  # the connection goes on
    capture = neighbour.capture(answer.headers["x-pointsman-decision-id"])
    assert (capture["status"], capture["complete"]) == ("refused", False)
    assert (capture["http_status"], capture["attempts"]) == (400, [])
    assert capture["response"] == answer.body.decode()


def assert_is_clean(answer: Answer) -> None:
    """An error in OpenAI's shape that gives nothing back of what was sent, nor of ourselves."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert CANARY not in answer.body.decode()
    assert "Traceback" not in answer.body.decode()
    assert "server" not in answer.headers


UNREADABLE = (
    b'{"model": "auto", "messages": "\xff\xfe"}',
    b'{"model": "auto", "messages": [{"role": "user", "content": "\xc3("}]}',
    b'{"model": "auto", "user": "\xff", "messages": [{"role": "user", "content": "a"}]}',
    b'{"model": "auto", "messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"model": "auto", "metadata": {"task": "\\ud800"}, "messages": []}',
    b'{"model": "auto", "messages": [{"role": "user", "content": "\\u0000"}]}',
    b'{"model": "auto", "seed": 1e999, "messages": [{"role": "user", "content": "a"}]}',
    b'{"model": "auto", "seed": %b, "messages": []}' % (b"9" * 5000),
)


def test_no_body_however_odd_holds_up_the_records_behind_it(tmp_path: Path) -> None:
    with Served(write_config(tmp_path, CONFIG)) as served:
        asked = []
        for body in UNREADABLE:
            with Wire(served.listen) as wire:
                answer = wire.ask(body)
                assert answer.status in (200, 400)
                asked.append(answer.headers["x-pointsman-decision-id"])
                good = wire.ask(chat_body("behind it"))
                asked.append(good.headers["x-pointsman-decision-id"])
        time.sleep(1.0)
        assert served.events("fold_failed") == []
        captures = all_captures(tmp_path / "config.yaml", "--bodies")
        assert [capture["id"] for capture in captures] == asked


@pytest.mark.parametrize("model", ["gpt-9", "", "AUTO", "default ", "auto\x00", "x" * 100_000])
def test_a_model_nobody_knows_is_not_found(neighbour: Neighbour, model: str) -> None:
    with Wire(neighbour.served.listen) as wire:
        answer = wire.ask(chat_body(model=model))
    assert answer.status == 404
    assert (answer.error["type"], answer.error["code"], answer.error["param"]) == (
        INVALID,
        "model_not_found",
        None,
    )
    capture = neighbour.capture(answer.headers["x-pointsman-decision-id"])
    assert (capture["status"], capture["complete"]) == ("refused", False)


def test_of_a_member_given_twice_one_decides_alone(neighbour: Neighbour) -> None:
    body = b'{"model": "gpt-9", "messages": [{"role": "user", "content": "a"}], "model": "auto"}'
    with Wire(neighbour.served.listen) as wire:
        answer = wire.ask(body)
    assert answer.status in (200, 400, 404)
    if answer.status == 200:
        assert answer.headers["x-pointsman-backend"] == "quick"
        assert json.loads(answer.body)["model"] == "quick"
    capture = neighbour.capture(answer.headers["x-pointsman-decision-id"])
    assert capture["complete"] is (answer.status == 200)
    assert capture["request"] == body.decode()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_over_the_limit_is_refused_and_not_read_on(
    neighbour: Neighbour, framing: str
) -> None:
    with Wire(neighbour.served.listen) as wire:
        if framing == "length":
            wire.send(chat_request(b"", {"x": "y"}).replace(b"length: 0", b"length: 999999999"))
        else:
            wire.send(head("transfer-encoding: chunked"))
            wire.send(b"%x\r\n" % (BODY_MAX + 1) + b" " * (BODY_MAX + 1) + b"\r\n")
        answer = wire.read_answer()
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert answer.headers["connection"] == "close"
    capture = neighbour.capture(answer.headers["x-pointsman-decision-id"])
    assert (capture["status"], capture["complete"]) == ("refused", False)


def head(*lines: str, target: str = "/v1/chat/completions", method: str = "POST") -> bytes:
    """A request's head."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "host: test", *lines, "", ""]).encode()


def test_a_body_at_the_limit_is_served(neighbour: Neighbour) -> None:
    body = chat_body()
    with Wire(neighbour.served.listen) as wire:
        assert wire.ask(body + b" " * (BODY_MAX - len(body))).status == 200


FRAMING = {
    "two lengths": head("content-length: 2", "content-length: 3") + b"{}",
    "length and chunks": head("content-length: 2", "transfer-encoding: chunked") + b"0\r\n\r\n",
    "bad chunk": head("transfer-encoding: chunked") + b"zz\r\n\r\n",
    "no host": b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
    "two hosts": head("host: other", "content-length: 0"),
    "absolute target": head("content-length: 0", target="http://other/v1/chat/completions"),
    "underscore": head("content_length: 2"),
    "HTTP/2.0": head("content-length: 0").replace(b"HTTP/1.1", b"HTTP/2.0"),
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello",
    "NUL": head("x: a\0b", "content-length: 0"),
}


@pytest.mark.parametrize("name", FRAMING)
def test_broken_framing_is_answered_and_ends_the_connection(
    neighbour: Neighbour, name: str
) -> None:
    with Wire(neighbour.served.listen) as wire:
        wire.send(FRAMING[name])
        answer = wire.read_answer()
        assert (answer.status, answer.error["code"]) == (400, "bad_request")
        assert_is_clean(answer)
        assert wire.read_to_end() == b""


def test_headers_over_their_limits_are_refused(neighbour: Neighbour) -> None:
    for lines in (["x: " + "y" * 70_000], [f"x-{number}: 1" for number in range(101)]):
        with Wire(neighbour.served.listen) as wire:
            wire.send(head(*lines, "content-length: 0"))
            answer = wire.read_answer()
            assert (answer.status, answer.error["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize(
    ("target", "method", "status", "code", "is_kept"),
    [
        ("/v1/nothing", "POST", 404, "unknown_url", True),
        ("/nothing", "POST", 404, "unknown_url", False),
        ("/v1/chat/completions", "GET", 405, "method_not_supported", False),
        ("/v1/models", "POST", 405, "method_not_supported", True),
        ("/v1/../v1/models", "GET", 404, "unknown_url", False),
        ("/v1/%2e%2e/chat/completions", "POST", 404, "unknown_url", True),
        ("/metrics", "GET", 404, "unknown_url", False),
        ("/state", "GET", 404, "unknown_url", False),
    ],
)
def test_what_is_not_served_is_a_clean_error(
    neighbour: Neighbour, target: str, method: str, status: int, code: str, is_kept: bool
) -> None:
    with Wire(neighbour.served.listen) as wire:
        wire.send(head("content-length: 0", target=target, method=method))
        answer = wire.read_answer()
    assert (answer.status, answer.error["code"]) == (status, code)
    assert_is_clean(answer)
    assert ("allow" in answer.headers) is (status == 405)
    if is_kept:
        capture = neighbour.capture(answer.headers["x-pointsman-decision-id"])
        assert (capture["status"], capture["http_status"]) == ("refused", status)


def test_a_compressed_body_is_not_taken(neighbour: Neighbour) -> None:
    with Wire(neighbour.served.listen) as wire:
        answer = wire.ask(b"\x1f\x8b", content_encoding="gzip")
    assert (answer.status, answer.error["code"]) == (415, "unsupported_encoding")


def test_half_a_body_is_a_client_gone(neighbour: Neighbour) -> None:
    before = ids(neighbour)
    text = "never finished"
    with Wire(neighbour.served.listen) as wire:
        wire.send(chat_request(chat_body(text))[:-20])
        time.sleep(0.1)
    wait_for(neighbour, before, "client_gone")


def ids(neighbour: Neighbour) -> set[str]:
    """Of what is on record and did not end well."""
    return {capture["id"] for capture in broken(neighbour)}


def broken(neighbour: Neighbour) -> list[dict[str, Any]]:
    """Records of answers that did not end well."""
    found = queries.captures(neighbour.served.directory)
    return [capture for capture in found if not capture["complete"]]


def wait_for(neighbour: Neighbour, before: set[str], status: str) -> dict[str, Any]:
    """A record of that status that was not there before."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        for capture in broken(neighbour):
            if capture["id"] not in before and capture["status"] == status:
                return capture
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_a_body_in_small_pieces_is_served(neighbour: Neighbour) -> None:
    request = chat_request(chat_body("in pieces"))
    with Wire(neighbour.served.listen) as wire:
        for start in range(0, len(request), 7):
            wire.send(request[start : start + 7])
            time.sleep(0.002)
        assert wire.read_answer().status == 200


def test_requests_sent_at_once_are_answered_in_order(neighbour: Neighbour) -> None:
    bodies = [chat_body(str(number), stream=number % 2 == 1) for number in range(4)]
    with Wire(neighbour.served.listen) as wire:
        wire.send(b"".join(chat_request(body) for body in [*bodies, b"{"]))
        answers = [wire.read_answer() for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 400]
    streamed = [answer.body.startswith(b"data:") for answer in answers]
    assert streamed == [False, True, False, True, False]


@pytest.mark.slow
def test_a_request_that_does_not_come_on_is_timed_out(neighbour: Neighbour) -> None:
    request = chat_request(chat_body("slow"))
    with (
        Wire(neighbour.served.listen, timeout_s=60) as no_header,
        Wire(neighbour.served.listen, timeout_s=60) as no_body,
    ):
        no_header.send(request[:30])
        no_body.send(request[:-10])
        started_s = time.monotonic()
        answer = no_header.read_answer()
        assert (answer.status, answer.error["code"]) == (408, "request_timeout")
        assert 9 < time.monotonic() - started_s < 13
        answer = no_body.read_answer()
        assert (answer.status, answer.error["code"]) == (408, "request_timeout")
        assert 29 < time.monotonic() - started_s < 34
    capture = neighbour.capture(answer.headers["x-pointsman-decision-id"])
    assert (capture["status"], capture["complete"]) == ("refused", False)


# -- what backends do wrong ------------------------------------------------------------------------


class Expected(NamedTuple):
    """Of an answer; `code` None where the backend's own error passes."""

    status: int
    type: str | None = None
    code: str | None = None


UPSTREAM = Expected(502, SERVER, "upstream_error")
BEFORE_ANY_BYTE = {
    "html": UPSTREAM,
    "html,status=502": UPSTREAM,
    "empty": UPSTREAM,
    "nothing": UPSTREAM,
    "reset": UPSTREAM,
    "error_event": Expected(502, SERVER),
    "status=400": Expected(400, INVALID),
    "status=401": Expected(502, SERVER, "upstream_auth"),
    "status=403": Expected(403, INVALID),
    "status=404": Expected(404, INVALID, "model_not_found"),
    "status=422": Expected(422, INVALID),
    "status=429,retry_after=7": Expected(429, "requests", "rate_limit_exceeded"),
    "status=500": Expected(500, SERVER),
    "status=503": Expected(503, SERVER),
    "status=302": UPSTREAM,
    "stall=30": Expected(504, SERVER, "deadline_exceeded"),
}


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", BEFORE_ANY_BYTE)
def test_a_backend_that_fails_before_its_answer_is_a_clean_error(
    neighbour: Neighbour, fault: str, is_stream: bool
) -> None:
    if fault == "stall=30" and is_stream:
        fault = "slow=30000"  # a stream's stall comes after its first event
    expected = BEFORE_ANY_BYTE.get(fault, BEFORE_ANY_BYTE["stall=30"])
    answer = ask_for(neighbour, fault, is_stream=is_stream)
    assert answer.status == expected.status
    assert answer.error["type"] == expected.type
    assert answer.error["code"] == expected.code
    assert_is_clean(answer)
    if fault.startswith("status=429"):
        assert answer.headers["retry-after"] == "7"
    capture = neighbour.capture(answer.headers["x-pointsman-decision-id"])
    assert (capture["status"], capture["complete"]) == ("error", False)
    assert capture["http_status"] == expected.status
    assert capture["response"] == answer.body.decode()
    assert len(capture["attempts"]) in (1, 2, 3)
    assert not any(attempt["status"] == "ok" for attempt in capture["attempts"])
    assert answer.headers["x-pointsman-attempts"] == str(len(capture["attempts"]))


def ask_for(neighbour: Neighbour, fault: str, *, is_stream: bool) -> Answer:
    """A whole answer to a request that asks its backend to fail."""
    with Wire(neighbour.served.listen) as wire:
        return wire.ask(chat_body(fault, stream=is_stream, metadata={"simulate": fault}))


@pytest.mark.parametrize("fault", ["cut=3", "cut_reset=3", "bad_json"])
def test_a_whole_answer_that_breaks_is_no_answer(neighbour: Neighbour, fault: str) -> None:
    answer = ask_for(neighbour, fault, is_stream=False)
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    capture = neighbour.capture(answer.headers["x-pointsman-decision-id"])
    assert (capture["status"], capture["complete"]) == ("error", False)


@pytest.mark.parametrize(
    "fault", ["cut=3", "cut_reset=3", "no_finish", "half_event", "stall=30,after=3"]
)
def test_a_stream_that_breaks_ends_with_an_error_and_without_an_end(
    neighbour: Neighbour, fault: str
) -> None:
    before = ids(neighbour)
    with Wire(neighbour.served.listen) as wire:
        body = chat_body(fault, stream=True, metadata={"simulate": fault})
        wire.send(chat_request(body))
        with pytest.raises(BrokenOff) as found:
            wire.read_answer()
    last = found.value.seen.split(b"data: ")[-1]
    error = json.loads(last.partition(b"\n\n")[0])["error"]
    assert (error["type"], error["code"]) == (SERVER, "upstream_cut")
    for never in (b"[DONE]", b"\r\n0\r\n\r\n", b'"finish_reason":"stop"'):
        assert never not in found.value.seen
    capture = wait_for(neighbour, before, "upstream_cut")
    assert (capture["complete"], capture["http_status"]) == (False, 200)
    kept = neighbour.capture(capture["id"])["response"]
    assert kept.count("data: ") > 3
    assert "[DONE]" not in kept


@pytest.mark.parametrize("fault", ["no_done", "finish=length", "bad_json"])
def test_a_stream_that_is_odd_but_whole_passes(neighbour: Neighbour, fault: str) -> None:
    answer = ask_for(neighbour, fault, is_stream=True)
    assert answer.status == 200
    assert (b"[DONE]" in answer.body) is (fault != "no_done")
    capture = neighbour.capture(answer.headers["x-pointsman-decision-id"])
    assert (capture["status"], capture["complete"]) == ("ok", True)


def test_a_backend_nobody_listens_for_is_told_at_once(neighbour: Neighbour) -> None:
    started_s = time.monotonic()
    with Wire(neighbour.served.listen) as wire:
        answer = wire.ask(chat_body(model="closed"))
    assert time.monotonic() - started_s < 2.0
    assert (answer.status, answer.error["code"]) == (503, "no_backend")
    assert int(answer.headers["retry-after"]) >= 1
    assert "127.0.0.1" not in answer.body.decode()
    capture = neighbour.capture(answer.headers["x-pointsman-decision-id"])
    assert (capture["status"], capture["complete"]) == ("error", False)


def test_no_answer_that_broke_is_exported_as_a_lesson(neighbour: Neighbour) -> None:
    output = neighbour.config.parent / "lessons.jsonl"
    answer = ask_for(neighbour, "bad_json", is_stream=False)
    finished = command(
        "export", "--format", "openai-chat", "--output", str(output), config=neighbour.config
    )
    assert finished.code == 0, finished.errors
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(rows) > 20
    faults = {*BEFORE_ANY_BYTE, "cut=3", "cut_reset=3", "no_finish", "half_event"}
    for row in rows:
        assert row["messages"][-1]["role"] == "assistant"
        assert row["messages"][0]["content"] not in faults
    assert answer.status == 502
