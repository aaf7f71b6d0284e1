"""The life of a request: what the client sees of one, two or no backends, and what is recorded."""

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from proxy import downstream, timing
from tests.support.certificates import make_certificates
from tests.support.plane import (
    ASKED,
    DONE,
    EVENTS,
    STREAMED,
    Plane,
    completion,
    config,
    error_answer,
    event,
    serving,
    serving_two,
    stream_answer,
    usage_event,
    whole_answer,
)
from tests.support.raw_client import Answer, RawClient, post
from tests.support.scripted import (
    LAST_CHUNK,
    Script,
    ScriptedUpstream,
    Step,
    chunk,
    chunked_head,
    drip,
    fin,
    notify,
    repeat,
    request,
    reset,
    response,
    stall,
    until_closed,
)

CUT = b'"type":"server_error"'
REFUSED = "http://127.0.0.1:1/v1"  # nobody listens there


def ask(plane: Plane, body: bytes | dict[str, Any] = ASKED, *headers: str) -> Answer:
    """One request on a connection of its own."""
    with plane.client() as client:
        return client.ask(body, *headers)


def events_of(answer: Answer) -> list[Any]:
    """The data of each event, decoded."""
    payloads = [line.removeprefix(b"data: ") for line in answer.body.split(b"\n\n") if line]
    return [json.loads(payload) if payload != b"[DONE]" else "[DONE]" for payload in payloads]


# -- bytes pass through ---------------------------------------------------------------------------


def test_body_and_answer_pass_but_for_the_model(tmp_path: Path) -> None:
    body = (
        b'{ "messages" : [{"role":"user","content":"caf\\u00e9 \\"model\\""}],\n'
        b' "temperature":1.0e0,'
        b'"unknown":{"model":"inner"},"model"\t:"auto" , "seed":12345678901234567890 }'
    )
    said = b'{"model" : "real",  "choices":[{"index":0,"finish_reason":"stop"}],"x":1E2}'
    with serving(tmp_path, [request, response(said)]) as (up, plane):
        answer = ask(plane, body)
        assert answer.body == said
        assert up.requests[0].partition(b"\r\n\r\n")[2] == body.replace(b'"auto"', b'"m-a"')
        assert answer.header("x-pointsman-edited") == "model"
        kept = plane.only_record()
        assert (kept.record.request, kept.response) == (body, said)


def test_nothing_is_edited_where_nothing_must_be(tmp_path: Path) -> None:
    body = {**STREAMED, "model": "a", "stream_options": {"include_usage": True}}
    with ScriptedUpstream([request, stream_answer(EVENTS, usage_event(), DONE)]) as up:
        text = config(
            "  default: {candidates: [a]}",
            a=f"adapter: openai, base_url: '{up.base_url}', model: a",
        )
        with Plane(tmp_path, text) as plane:
            answer = ask(plane, body)
            assert answer.body == EVENTS + usage_event() + DONE
            assert answer.header("x-pointsman-edited") is None
    assert up.requests[0].endswith(json.dumps(body).encode())


def test_a_model_named_twice_reaches_no_backend_in_two_ways(tmp_path: Path) -> None:
    """Whichever counts decides the route and is the only one that goes on; 400 is also right."""
    with serving(tmp_path, [request, whole_answer()] * 9) as (up, plane):
        for body in (
            b'{"model":"auto","messages":[],"model":"evil"}',
            b'{"model":"evil","messages":[],"model":"auto"}',
            b'{"model":"evil","messages":[],"mod\\u0065l":"auto"}',
        ):
            assert ask(plane, body).status in (200, 400, 404)
        assert b"evil" not in b"".join(up.requests)


def test_a_model_named_twice_reaches_no_backend_though_no_edit_is_needed(tmp_path: Path) -> None:
    with ScriptedUpstream([request, whole_answer()] * 9) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}', model: a"
        with Plane(tmp_path, config("  default: {candidates: [a]}", a=declared)) as plane:
            ask(plane, b'{"model":"evil","messages":[],"model":"a"}')
            ask(plane, b'{"model":"evil","messages":[],"mod\\u0065l":"a"}')
        assert b"evil" not in b"".join(up.requests)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"text"', None),
        (b"null", None),
        (b"\xff\xfe{\x00", None),
        (b"\xef\xbb\xbf{}", None),
        (b'{"model":"auto"} x', None),
        (b'{"model":"auto","a":NaN}', None),
        (b'{"model":"auto","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b"{}", "model"),
        (b'{"model":null}', "model"),
        (b'{"model":["auto"]}', "model"),
        (b'{"model":"auto","stream":"yes"}', "stream"),
    ],
)
def test_a_request_that_cannot_be_read_is_a_400(
    tmp_path: Path, body: bytes, param: str | None
) -> None:
    with serving(tmp_path, [until_closed]) as (up, plane):
        answer = ask(plane, body)
        assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
        assert answer.error["param"] == param
        kept = plane.only_record()
        assert (kept.record.status, kept.record.http_status) == ("refused", 400)
        assert (kept.record.request, kept.response) == (body, answer.body)
        assert answer.header("x-pointsman-decision-id") == kept.record.id
    assert up.connections == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"auto","a":"\\ud800"}',
        b'{"model":"auto","user":"\\ud800"}',
        b'{"model":"auto","metadata":{"a":"\\udc00"}}',
        b'{"model":"auto\\ud800"}',
        b'{"model":"auto","n":1e999,"max_tokens":-1}',
        b'{"model":"auto","n":' + b"9" * 5000 + b"}",
        b'{"model":"auto","messages":"text","tools":7,"metadata":[],"user":{},"stream_options":3}',
        b'{"model":"auto","messages":[{"role":1,"content":{"a":[]}},3]}',
        b'{"model":"auto","messages":[' + b"{}," * 20_000 + b"{}]}",
        b'{"model":"auto",' + b",".join(b'"k%d":1' % n for n in range(20_000)) + b"}",
    ],
    ids=range(10),
)
def test_odd_but_readable_requests_never_crash(tmp_path: Path, body: bytes) -> None:
    with serving(tmp_path, [request, whole_answer()]) as (_, plane):
        assert ask(plane, body).status in (200, 400, 404)
        kept = plane.only_record()
        assert kept.record.request == body


def test_an_unknown_model_is_a_404(tmp_path: Path) -> None:
    with serving(tmp_path, [until_closed]) as (up, plane):
        answer = ask(plane, {**ASKED, "model": "nothing"})
        assert answer.code == (404, "invalid_request_error", "model_not_found")
        assert answer.error["param"] is None
        assert plane.only_record().ended == ("refused", False, 404, "model_not_found")
    assert up.connections == []


def test_a_compressed_request_is_a_415(tmp_path: Path) -> None:
    with serving(tmp_path, [until_closed]) as (_, plane):
        answer = ask(plane, b"\x1f\x8b\x08", "Content-Encoding: gzip")
        assert answer.code == (415, "invalid_request_error", "unsupported_encoding")
        assert plane.only_record().record.http_status == 415


def test_reject_asks_nobody(tmp_path: Path) -> None:
    route = "require: {cost: {max: $0.01}}, if_none: reject"
    with ScriptedUpstream([until_closed]) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}', price: {{input: 900, output: 900}}"
        declared += ", expect: {completion_tokens: 100}"
        text = config(f"  default: {{candidates: [a], {route}}}", a=declared)
        with Plane(tmp_path, text) as plane:
            answer = ask(plane)
            assert answer.code == (503, "server_error", "no_backend")
            assert int(answer.header("retry-after") or 0) >= 1
            assert answer.header("x-pointsman-route") == "default"
            assert plane.only_record().ended == ("refused", False, 503, "no_backend")
    assert up.connections == []


# -- streams --------------------------------------------------------------------------------------


def test_the_head_comes_with_the_first_data(tmp_path: Path) -> None:
    script = [
        request, chunked_head(), chunk(b": ping\n\n"), stall(0.2), chunk(event("x")), until_closed,
    ]  # fmt: skip
    with serving(tmp_path, script) as (_, plane), plane.client() as client:
        client.send(post(STREAMED))
        started_s = time.monotonic()
        answer = client.read_head()
        assert answer.head_s - started_s > 0.15
        assert answer.status == 200
        assert client.read_chunk(answer)
        assert answer.body == b": ping\n\n" + event("x")


def test_a_stream_carries_its_headers(tmp_path: Path) -> None:
    with serving(tmp_path, [request, stream_answer(EVENTS, DONE)]) as (_, plane):
        answer = ask(plane, STREAMED)
        assert answer.header("content-type") == "text/event-stream"
        assert answer.header("cache-control") == "no-cache"
        assert answer.header("x-accel-buffering") == "no"
        assert answer.header("x-pointsman-cost-usd") is None
        assert answer.header("x-pointsman-attempts") == "1"


def test_each_event_goes_on_at_once(tmp_path: Path) -> None:
    script = [request, chunked_head(), chunk(event("0"))]
    for number in range(1, 4):
        script += [stall(0.1), chunk(event(str(number)))]
    with serving(tmp_path, [*script, until_closed]) as (_, plane), plane.client() as client:
        client.send(post(STREAMED))
        answer = client.read_head()
        moments = []
        for _ in range(4):
            assert client.read_chunk(answer)
            moments.append(time.monotonic())
        gaps = [later - sooner for sooner, later in pairwise(moments)]
        assert all(0.05 < gap < 0.3 for gap in gaps)


def test_done_and_the_end_come_together_and_not_before_the_record(tmp_path: Path) -> None:
    script = [request, chunked_head(), chunk(EVENTS), stall(0.1), chunk(DONE) + LAST_CHUNK]
    with serving(tmp_path, script) as (_, plane), plane.client() as client:
        held: list[Callable[[], None]] = []
        journal = plane.data_plane.journal
        append = journal.append

        def late(record: Any, release: Any) -> None:
            held.append(lambda: append(record, release))

        journal.append = late  # type: ignore[method-assign]
        client.send(post(STREAMED))
        answer = client.read_head()
        while answer.body != EVENTS.replace(b',"usage":null', b""):
            assert client.read_chunk(answer)
        plane.wait_until(lambda: held)
        assert not client.is_closed(0.1)
        assert plane.records() == []
        assert b"[DONE]" not in answer.body + client._unread
        plane.call(held[0])
        assert client.read_chunk(answer)
        assert answer.body.endswith(DONE)
        assert client._unread == LAST_CHUNK
        assert plane.only_record().ended == ("ok", True, 200, None)


def test_a_whole_answer_does_not_go_before_its_record(tmp_path: Path) -> None:
    with serving(tmp_path, [request, whole_answer()]) as (_, plane), plane.client() as client:
        held: list[Callable[[], None]] = []
        journal = plane.data_plane.journal
        append = journal.append
        journal.append = lambda *sent: held.append(lambda: append(*sent))  # type: ignore[method-assign]
        client.send(post(ASKED))
        plane.wait_until(lambda: held)
        client.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        plane.call(held[0])
        assert client.read().status == 200


def test_usage_is_asked_for_and_hidden_again(tmp_path: Path) -> None:
    said = [EVENTS, usage_event(), DONE]
    with serving(tmp_path, [request, stream_answer(*said)] * 2) as (up, plane):
        answer = ask(plane, {**STREAMED, "stream_options": {"include_obfuscation": False}})
        assert events_of(answer)[-1] == "[DONE]"
        assert all("usage" not in each and each["choices"] for each in events_of(answer)[:-1])
        assert answer.body == EVENTS.replace(b',"usage":null', b"") + DONE
        assert answer.header("x-pointsman-edited") == "model, stream_options.include_usage"
        record = plane.only_record().record
        assert (record.usage.prompt, record.usage.completion) == (3, 5)
        assert record.cost_usd == pytest.approx((3 * 1 + 5 * 2) / 1e6)
    sent = json.loads(up.requests[0].partition(b"\r\n\r\n")[2])
    assert sent["stream_options"] == {"include_usage": True, "include_obfuscation": False}


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": None}])
def test_usage_is_asked_for_whatever_the_client_left_out(tmp_path: Path, options: object) -> None:
    with serving(tmp_path, [request, stream_answer(EVENTS, usage_event(), DONE)]) as (up, plane):
        answer = ask(plane, {**STREAMED, "stream_options": options})
        assert b"usage" not in answer.body
    sent = json.loads(up.requests[0].partition(b"\r\n\r\n")[2])
    assert sent["stream_options"] == {"include_usage": True}


def test_usage_that_was_asked_for_passes_untouched(tmp_path: Path) -> None:
    said = EVENTS + usage_event() + DONE
    with serving(tmp_path, [request, stream_answer(said)]) as (_, plane):
        answer = ask(plane, {**STREAMED, "stream_options": {"include_usage": True}})
        assert answer.body == said


def test_only_the_usage_is_hidden(tmp_path: Path) -> None:
    """Azure's first chunk has no choices either; usage in a content chunk stays."""
    azure = event(choices=[], prompt_filter_results=[])
    merged = event("x", usage={"prompt_tokens": 1})
    said = [azure, merged, b": ping\n\n", event(finish="stop"), usage_event(), DONE]
    with serving(tmp_path, [request, stream_answer(*said)]) as (_, plane):
        assert ask(plane, STREAMED).body == azure + merged + b": ping\n\n" + said[3] + DONE


COMPLETE: dict[str, list[bytes]] = {
    "[DONE]": [event("x"), event(finish="stop"), DONE],
    "no [DONE]": [event("x"), event(finish="stop")],
    "finish with the last content": [event("x", "stop")],
    "usage last": [event("x", "stop"), usage_event()],
    "[DONE] alone": [event("x"), DONE],
    "length": [event("x", "length"), DONE],
}


@pytest.mark.parametrize("said", COMPLETE.values(), ids=COMPLETE)
def test_a_complete_stream_is_passed_and_nothing_is_added(
    tmp_path: Path, said: list[bytes]
) -> None:
    body = {**STREAMED, "stream_options": {"include_usage": True}}
    with serving(tmp_path, [request, stream_answer(*said)]) as (_, plane):
        answer = ask(plane, body)
        assert (answer.body, answer.is_whole) == (b"".join(said), True)
        kept = plane.only_record()
        assert kept.ended == ("ok", True, 200, None)
        assert kept.response == answer.body


def test_a_stream_of_several_choices_is_complete_with_the_last(tmp_path: Path) -> None:
    def choice(index: int, finish: str | None) -> bytes:
        return event(choices=[{"index": index, "delta": {}, "finish_reason": finish}])

    body = {**STREAMED, "n": 2}
    script = [request, stream_answer(choice(0, "stop"))]
    script += [request, stream_answer(choice(0, "stop"), choice(1, "stop"))]
    with serving(tmp_path, script) as (_, plane):
        assert not ask(plane, body).is_whole
        assert ask(plane, body).is_whole
        cut, whole = plane.wait_for_records(2)
    assert (cut.record.complete, whole.record.complete) == (False, True)


BROKEN: dict[str, list[Step]] = {
    "reset": [stall(0.05), reset],
    "FIN without terminator": [fin],
    "clean end without finish_reason": [LAST_CHUNK],
    "half an event": [chunk(b'data: {"choices":[{"index":0,"del'), LAST_CHUNK],
    "half an event and FIN": [chunk(b'data: {"choices":[{"index":0,"del'), fin],
    "broken chunk": [b"zz\r\nxx"],
    "bytes instead of a chunk": [b"\r\n\r\n<html>"],
}


@pytest.mark.parametrize("rest", BROKEN.values(), ids=BROKEN)
def test_a_cut_is_told_and_never_looks_like_an_end(tmp_path: Path, rest: list[Step]) -> None:
    script: Script = [request, chunked_head(), chunk(event("half")), stall(0.05), *rest]
    with serving(tmp_path, script) as (up, plane):
        answer = ask(plane, STREAMED)
        assert answer.status == 200
        assert not answer.is_whole
        first, last = events_of(answer)
        assert first["choices"][0]["delta"] == {"content": "half"}
        assert set(last) == {"error"}
        assert (last["error"]["type"], last["error"]["code"]) == ("server_error", "upstream_cut")
        kept = plane.only_record()
        status, is_complete, http_status, error_type = kept.ended
        assert (status, is_complete, http_status) == ("upstream_cut", False, 200)
        assert error_type is not None
        assert kept.response == answer.body
        assert kept.record.finish_reason is None
    assert len(up.requests) == 1


def test_the_first_events_cut_off_are_tried_again(tmp_path: Path) -> None:
    """Until a data event has come, nothing has been sent: failover is free."""
    scripts: list[Script] = [
        [request, chunked_head(), chunk(b": ping\n\n"), chunk(b'data: {"choi'), fin],
        [request, chunked_head(), LAST_CHUNK, request, stream_answer(EVENTS, DONE)],
    ]
    with serving(tmp_path, *scripts) as (_, plane):
        answer = ask(plane, STREAMED)
        assert (answer.status, answer.is_whole) == (200, True)
        assert b"ping" not in answer.body
        assert answer.header("x-pointsman-attempts") == "3"
        assert plane.only_record().tried == [
            ("primary", "a", "cut"),
            ("retry", "a", "cut"),
            ("retry", "a", None),
        ]


@pytest.mark.parametrize("code", [429, 503, "overloaded", None, 401])
def test_an_error_as_first_event_becomes_a_status(tmp_path: Path, code: object) -> None:
    error = {"message": "no", "type": "t", "param": None, "code": code}
    said = b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
    with serving(tmp_path, [request, stream_answer(said, DONE)] * 3) as (_, plane):
        answer = ask(plane, STREAMED)
        assert answer.status == (code if code in (429, 503) else 502)
        assert answer.json == {"error": error}
        assert answer.header("content-type") == "application/json"
        assert plane.only_record().record.status == "error"


def test_an_error_as_first_event_lets_another_answer(tmp_path: Path) -> None:
    said = b'data: {"error":{"message":"no","code":503}}\n\n'
    first = [request, stream_answer(said)] * 3
    with serving_two(tmp_path, first, [request, stream_answer(EVENTS, DONE)]) as (_, _, plane):
        answer = ask(plane, STREAMED)
        assert answer.is_whole
        assert answer.header("x-pointsman-backend") == "b"


def test_an_error_in_mid_stream_is_no_complete_answer(tmp_path: Path) -> None:
    """vLLM reports a failure as an event and ends with [DONE] all the same."""
    said = b'data: {"error":{"message":"out of memory","type":"t","code":500}}\n\n'
    with serving(tmp_path, [request, stream_answer(event("half"), said, DONE)]) as (_, plane):
        answer = ask(plane, STREAMED)
        assert said in answer.body
        assert not plane.only_record().record.complete


ODD: dict[str, bytes] = {
    "CRLF": EVENTS.replace(b"\n", b"\r\n") + DONE.replace(b"\n", b"\r\n"),
    "CR only": EVENTS.replace(b"\n", b"\r") + DONE.replace(b"\n", b"\r"),
    "comments": b": a\n\n" + EVENTS + b": b\n: c\n\n" + DONE,
    "fields": b"event: x\nid: 7\nretry: 10\n" + EVENTS + DONE,
    "several data lines": b'data: {"choices":\ndata: []}\n\n' + EVENTS + DONE,
    "no space": EVENTS.replace(b"data: ", b"data:") + b"data:[DONE]\n\n",
    "byte order mark": b"\xef\xbb\xbf" + EVENTS + DONE,
    "bad JSON": EVENTS + b"data: {nonsense\n\n" + event("x") + DONE,
    "split characters": event("gr\u00fc\u00df \U0001f600".encode().decode()) + EVENTS + DONE,
    "a large event": event("x" * 300_000) + EVENTS + DONE,
    "text behind the end": EVENTS + DONE + b": bye\n\n",
}


@pytest.mark.parametrize("said", ODD.values(), ids=ODD)
@pytest.mark.parametrize("size", [0, 1, 7], ids=["whole", "bytes", "sevens"])
def test_odd_streams_pass_unchanged(tmp_path: Path, said: bytes, size: int) -> None:
    if size and len(said) > 10_000:
        size *= 4096
    body = {**STREAMED, "stream_options": {"include_usage": True}}
    pieces = [said[at : at + size] for at in range(0, len(said), size)] if size else [said]
    with serving(tmp_path, [request, stream_answer(*pieces)]) as (_, plane):
        answer = ask(plane, body)
        assert answer.is_whole
        assert said.startswith(answer.body)
        assert said.removesuffix(b": bye\n\n") == answer.body.removesuffix(b": bye\n\n")
        kept = plane.only_record()
        assert kept.ended == ("ok", True, 200, None)
        assert kept.response == answer.body


def test_an_unreadable_stream_is_marked(tmp_path: Path) -> None:
    said = event("x", "stop") + b"data: {nonsense\n\n" + DONE
    with serving(tmp_path, [request, stream_answer(said)]) as (_, plane):
        assert ask(plane, STREAMED).body == said
        assert plane.only_record().record.is_unparsed


def test_silence_is_filled_with_comments_between_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "COMMENT_EVERY_S", 0.1)
    half = event("y")
    script = [
        request, chunked_head(), chunk(event("x")), chunk(half[:20]), stall(0.35),
        chunk(half[20:]), chunk(event(finish="stop") + DONE), LAST_CHUNK,
    ]  # fmt: skip
    with serving(tmp_path, script) as (_, plane):
        answer = ask(plane, STREAMED)
        assert answer.is_whole
        comments = answer.body.count(b": keep-alive\n\n")
        assert 2 <= comments <= 4
        said = event("x") + b": keep-alive\n\n" * comments + half + event(finish="stop") + DONE
        assert answer.body == said
        assert plane.only_record().response == said


# -- failures and fallback ------------------------------------------------------------------------


@pytest.mark.timed
def test_another_backend_answers_where_the_first_cannot_be_reached(tmp_path: Path) -> None:
    with ScriptedUpstream([request, whole_answer()]) as b:
        text = config("  default: {candidates: [a], on_failure: [b]}", a=REFUSED, b=b.base_url)
        with Plane(tmp_path, text) as plane:
            started_s = time.monotonic()
            answer = ask(plane)
            assert time.monotonic() - started_s < 0.5
            assert answer.status == 200
            assert answer.header("x-pointsman-backend") == "b"
            assert answer.header("x-pointsman-attempts") == "2"
            kept = plane.only_record()
            assert kept.tried == [("primary", "a", "connect"), ("fallback", "b", None)]
            assert (kept.record.decided, kept.record.backend) == ("a", "b")


def test_nobody_can_be_reached(tmp_path: Path) -> None:
    text = config("  default: {candidates: [a], on_failure: [b]}", a=REFUSED, b=REFUSED)
    with Plane(tmp_path, text) as plane:
        answer = ask(plane)
        assert answer.code == (503, "server_error", "no_backend")
        assert int(answer.header("retry-after") or 0) >= 1
        assert answer.header("x-pointsman-attempts") in ("2", "3")
        assert plane.only_record().ended == ("error", False, 503, "no_backend")


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_a_passing_failure_is_tried_again_but_not_for_ever(tmp_path: Path, status: int) -> None:
    script = [request, error_answer(f"{status} X")] * 9
    with serving(tmp_path, script) as (up, plane):
        answer = ask(plane)
        assert answer.status == status
        assert answer.error["message"] == "said by the backend"
        assert answer.header("x-should-retry") == "false"
        assert len(up.requests) == 3
        kinds = [kind for kind, _, _ in plane.only_record().tried]
        assert kinds == ["primary", "retry", "retry"]


def test_three_attempts_are_the_most_over_all_backends(tmp_path: Path) -> None:
    down = [request, error_answer("503 X")] * 9
    with serving_two(tmp_path, down, down) as (a, b, plane):
        assert ask(plane).status == 503
        assert len(a.requests) + len(b.requests) == 3
        assert len(b.requests) >= 1


@pytest.mark.timed
def test_a_wait_that_the_backend_asks_for_is_kept_to(tmp_path: Path) -> None:
    script = [request, error_answer("429 X", "retry-after-ms: 150"), request, whole_answer()]
    with serving(tmp_path, script) as (_, plane):
        started_s = time.monotonic()
        assert ask(plane).status == 200
        assert 0.14 < time.monotonic() - started_s < 0.6


@pytest.mark.timed
def test_a_wait_that_does_not_fit_the_deadline_is_not_begun(tmp_path: Path) -> None:
    script = [request, error_answer("429 X", "retry-after: 20", "x-ratelimit-reset-requests: 6m0s")]
    with serving(tmp_path, script, route="timeout: {total: 5s}") as (_, plane):
        started_s = time.monotonic()
        answer = ask(plane)
        assert time.monotonic() - started_s < 1.0
        assert (answer.status, answer.header("retry-after")) == (429, "20")
        assert answer.header("x-ratelimit-reset-requests") == "6m0s"


@pytest.mark.timed
def test_another_backend_is_asked_at_once_instead_of_waiting(tmp_path: Path) -> None:
    first = [request, error_answer("429 X", "retry-after: 1")]
    with serving_two(tmp_path, first, [request, whole_answer()]) as (_, _, plane):
        started_s = time.monotonic()
        assert ask(plane).header("x-pointsman-backend") == "b"
        assert time.monotonic() - started_s < 0.5


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_reset_before_a_byte_is_tried_again(tmp_path: Path, is_stream: bool) -> None:
    again = stream_answer(EVENTS, DONE) if is_stream else whole_answer()
    with serving(tmp_path, [request, reset], [request, again]) as (_, plane):
        assert ask(plane, STREAMED if is_stream else ASKED).status == 200
        assert plane.only_record().tried == [("primary", "a", "reset"), ("retry", "a", None)]


def test_an_idle_connection_that_died_is_replaced_silently(tmp_path: Path) -> None:
    scripts: list[Script] = [[request, whole_answer(), request, fin], [request, whole_answer()]]
    with serving(tmp_path, *scripts) as (up, plane):
        assert ask(plane).status == 200
        answer = ask(plane)
        assert (answer.status, answer.header("x-pointsman-attempts")) == (200, "1")
        assert len(up.connections) == 2
        assert plane.wait_for_records(2)[1].tried == [("primary", "a", None)]


def test_nothing_is_tried_again_once_the_client_saw_something(tmp_path: Path) -> None:
    first = [request, chunked_head(), chunk(event("x")), stall(0.05), reset]
    with serving_two(tmp_path, first, [until_closed]) as (a, b, plane):
        answer = ask(plane, STREAMED)
        assert CUT in answer.body
        assert (len(a.requests), len(b.connections)) == (1, 0)


@pytest.mark.parametrize("status", ["400", "403", "404", "422"])
def test_a_refusal_is_not_tried_elsewhere(tmp_path: Path, status: str) -> None:
    first = [request, error_answer(f"{status} X")]
    with serving_two(tmp_path, first, [until_closed]) as (_, b, plane):
        assert ask(plane).status == int(status)
        assert b.connections == []


# -- escalation -----------------------------------------------------------------------------------

UNSURE = (
    "confidence: {from: [checks], accept: 0.5}, checks: [number], escalate: {to: [b], max_steps: 1}"
)
CHECKS = "checks: {number: {at: /n, schema: {type: number}}}"
GOOD, BAD = '{"n": 1}', "who knows"


def streamed(text: str) -> bytes:
    return stream_answer(event(text), event(finish="stop"), usage_event(), DONE)


def text_of(answer: Answer) -> str:
    if answer.header("content-type") == "application/json":
        return str(answer.json["choices"][0]["message"]["content"])
    parts = [each["choices"][0]["delta"].get("content", "") for each in events_of(answer)[:-1]]
    return "".join(parts)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
class TestEscalation:
    """An answer that is not trusted is replaced before the client has seen any of it."""

    @staticmethod
    def said(text: str, is_stream: bool) -> bytes:
        return streamed(text) if is_stream else whole_answer(text)

    @staticmethod
    def body(is_stream: bool) -> dict[str, Any]:
        return STREAMED if is_stream else ASKED

    def test_a_trusted_answer_stays(self, tmp_path: Path, is_stream: bool) -> None:
        first = [request, self.said(GOOD, is_stream)]
        with serving_two(tmp_path, first, [until_closed], UNSURE, top=CHECKS) as (_, b, plane):
            answer = ask(plane, self.body(is_stream))
            assert (text_of(answer), answer.header("x-pointsman-confidence")) == (GOOD, "1.0000")
            assert b.connections == []
            record = plane.only_record().record
            assert (record.confidence, record.is_escalated) == (1.0, False)

    def test_a_doubtful_answer_is_replaced(self, tmp_path: Path, is_stream: bool) -> None:
        first, second = ([request, self.said(text, is_stream)] for text in (BAD, GOOD))
        with serving_two(tmp_path, first, second, UNSURE, top=CHECKS) as (_, _, plane):
            answer = ask(plane, self.body(is_stream))
            assert (answer.is_whole, text_of(answer)) == (True, GOOD)
            assert BAD.encode() not in answer.body
            assert answer.header("x-pointsman-backend") == "b"
            assert answer.header("x-pointsman-attempts") == "2"
            kept = plane.only_record()
            assert kept.ended == ("ok", True, 200, None)
            assert kept.tried == [("primary", "a", None), ("escalation", "b", None)]
            assert [one.won for one in kept.record.attempts] == [False, True]
            assert BAD.encode() in (kept.record.attempts[0].body or b"")
            assert kept.record.is_escalated
            assert kept.record.cost_usd == pytest.approx(2 * (3 + 5 * 2) / 1e6)
            assert kept.response == answer.body

    @pytest.mark.parametrize("end", [[reset], [error_answer("500 X")], [until_closed]])
    def test_the_doubtful_answer_stays_where_no_better_one_comes(
        self, tmp_path: Path, is_stream: bool, end: list[Step]
    ) -> None:
        first = [request, self.said(BAD, is_stream)]
        route = f"{UNSURE}, timeout: {{total: 400ms}}"
        with serving_two(tmp_path, first, [request, *end], route, top=CHECKS) as (_, b, plane):
            answer = ask(plane, self.body(is_stream))
            assert (answer.status, answer.is_whole, text_of(answer)) == (200, True, BAD)
            assert answer.header("x-pointsman-backend") == "a"
            assert answer.header("x-pointsman-confidence") == "0.0000"
            assert len(b.requests) >= 1
            kept = plane.only_record()
            assert kept.ended == ("ok", True, 200, None)
            assert kept.record.attempts[0].won

    def test_without_holding_the_answer_goes_out_as_it_comes(
        self, tmp_path: Path, is_stream: bool
    ) -> None:
        first = [request, self.said(BAD, is_stream)]
        second = [request, self.said(GOOD, is_stream)]
        route = f"{UNSURE}, hold: none"
        with serving_two(tmp_path, first, second, route, top=CHECKS) as (_, _, plane):
            answer = ask(plane, self.body(is_stream))
            assert text_of(answer) == (BAD if is_stream else GOOD)
            assert plane.only_record().record.confidence == (0.0 if is_stream else 1.0)


def test_logprobs_are_asked_for_and_hidden_again(tmp_path: Path) -> None:
    logprobs = {"content": [{"token": "x", "logprob": -0.1}], "refusal": None}
    choice = {
        "index": 0,
        "message": {"content": "x"},
        "finish_reason": "stop",
        "logprobs": logprobs,
    }
    said = completion(choices=[choice])
    with ScriptedUpstream([request, response(said)] * 2) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}', logprobs: true"
        text = config(
            "  default: {candidates: [a], confidence: {from: [logprobs], accept: 0.5}}", a=declared
        )
        with Plane(tmp_path, text) as plane:
            answer = ask(plane)
            assert answer.json["choices"][0]["logprobs"] is None
            assert answer.header("x-pointsman-confidence") == "0.9048"
            assert "logprobs" in (answer.header("x-pointsman-edited") or "")
            assert ask(plane, {**ASKED, "logprobs": True}).body == said
    first, second = (json.loads(sent.partition(b"\r\n\r\n")[2]) for sent in up.requests)
    assert (first["logprobs"], second["logprobs"]) == (True, True)


# -- time -----------------------------------------------------------------------------------------


@pytest.mark.timed
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (ASKED, []),
        (ASKED, [chunked_head(content_type="application/json")]),
        (STREAMED, []),
        (STREAMED, [chunked_head()]),
        (STREAMED, [chunked_head(), chunk(b": ping\n\n")]),
    ],
)
def test_no_first_token_in_time(tmp_path: Path, body: dict[str, Any], said: list[Step]) -> None:
    route = "timeout: {total: 10s, first_token: 150ms}"
    with serving(tmp_path, [request, *said, until_closed], route=route) as (up, plane):
        started_s = time.monotonic()
        answer = ask(plane, body)
        assert 0.1 < time.monotonic() - started_s < 1.0
        assert answer.code == (504, "server_error", "deadline_exceeded")
        assert plane.only_record().ended == ("error", False, 504, "deadline_exceeded")
        assert up.wait_until_finished().closed_how is not None


def test_a_first_token_in_time_from_another(tmp_path: Path) -> None:
    route = "on_failure: [b], timeout: {total: 10s, first_token: 150ms}"
    second = [request, stream_answer(EVENTS, DONE)]
    with serving_two(tmp_path, [request, until_closed], second, route) as (a, _, plane):
        answer = ask(plane, STREAMED)
        assert (answer.is_whole, answer.header("x-pointsman-backend")) == (True, "b")
        assert plane.only_record().tried == [("primary", "a", "timeout"), ("fallback", "b", None)]
        assert a.wait_until_finished().closed_how is not None


@pytest.mark.timed
def test_the_deadline_is_shared_by_all_attempts(tmp_path: Path) -> None:
    """The second backend gets what the first one left."""
    route = "on_failure: [b], timeout: {total: 400ms, first_token: 250ms}"
    silent = [request, until_closed]
    with serving_two(tmp_path, silent, silent, route) as (_, _, plane):
        started_s = time.monotonic()
        answer = ask(plane)
        assert 0.35 < time.monotonic() - started_s < 0.6
        assert answer.code == (504, "server_error", "deadline_exceeded")
        assert len(plane.only_record().tried) == 2


def test_the_deadline_holds_in_a_stream_that_drips(tmp_path: Path) -> None:
    events = b"".join(chunk(event(str(number))) for number in range(100))
    script = [request, chunked_head(), drip(events, size=200, pause_s=0.02), until_closed]
    with serving(tmp_path, script, route="timeout: {total: 300ms}") as (up, plane):
        answer = ask(plane, STREAMED)
        assert answer.header("x-pointsman-attempts") == "1"
        assert events_of(answer)[-1]["error"]["code"] == "upstream_cut"
        assert plane.only_record().ended == ("upstream_cut", False, 200, "timeout")
        assert up.wait_until_finished().closed_how is not None


def test_a_gap_in_a_stream_is_a_cut(tmp_path: Path) -> None:
    script = [request, chunked_head(), chunk(event("x")), until_closed]
    with serving(tmp_path, script, route="timeout: {total: 10s, idle: 150ms}") as (_, plane):
        answer = ask(plane, STREAMED)
        assert not answer.is_whole
        assert events_of(answer)[-1]["error"]["code"] == "upstream_cut"
        assert plane.only_record().ended == ("upstream_cut", False, 200, "timeout")


@pytest.mark.timed
@pytest.mark.parametrize(("header", "most_s"), [("200", 0.5), ("0", 0.2), ("99999999999", 1.5)])
def test_a_client_can_shorten_its_deadline_only(tmp_path: Path, header: str, most_s: float) -> None:
    with serving(tmp_path, [request, until_closed], route="timeout: {total: 1s}") as (_, plane):
        started_s = time.monotonic()
        answer = ask(plane, ASKED, f"x-pointsman-deadline-ms: {header}")
        assert answer.code == (504, "server_error", "deadline_exceeded")
        assert time.monotonic() - started_s < most_s


@pytest.mark.parametrize("header", ["", "-5", "soon", "1.5", "1" * 30])
def test_a_deadline_that_is_no_number_is_ignored(tmp_path: Path, header: str) -> None:
    with serving(tmp_path, [request, whole_answer()]) as (_, plane):
        assert ask(plane, ASKED, f"x-pointsman-deadline-ms: {header}").status == 200


# -- the client goes, or does not read ------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [[], [chunked_head(), chunk(event("half"))]], ids=["before", "mid"]
)
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_a_client_that_goes_stops_the_backend_promptly(
    tmp_path: Path, is_tls: bool, said: list[Step]
) -> None:
    certificates = make_certificates(tmp_path)
    tls = certificates.server_context if is_tls else None
    with ScriptedUpstream([request, *said, until_closed], tls=tls) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}'"
        declared += ", tls: {ca: ca.pem}" if is_tls else ""
        with Plane(tmp_path, config("  default: {candidates: [a]}", a=declared)) as plane:
            client = plane.client()
            client.send(post(STREAMED))
            plane.wait_until(lambda: up.requests)
            if said:
                client.read_chunk(client.read_head())
            gone_s = time.monotonic()
            client.close()
            connection = up.wait_until_finished()
            assert connection.closed_at is not None
            assert connection.closed_at - gone_s < 1.0  # the goal is 0.1 s
            kept = plane.only_record()
            assert kept.ended == ("client_gone", False, None, "client_gone")
            assert kept.response == (event("half") if said else b"")
            assert plane.call(lambda: plane.data_plane.wiring.pools["a"].in_flight) == 0


def test_an_abort_reaches_the_backend_within_the_goal(tmp_path: Path) -> None:
    """The median of several, over TLS on uvloop, where closing instead took 30 s."""
    certificates = make_certificates(tmp_path)
    spans = []
    with ScriptedUpstream([request, until_closed], tls=certificates.server_context) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}', tls: {{ca: ca.pem}}"
        with Plane(tmp_path, config("  default: {candidates: [a]}", a=declared)) as plane:
            for number in range(5):
                client = plane.client()
                client.send(post(STREAMED))
                plane.wait_until(lambda count=number: len(up.requests) > count)
                gone_s = time.monotonic()
                client.close()
                connection = up.wait_until_finished(number + 1)
                assert connection.closed_at is not None
                spans.append(connection.closed_at - gone_s)
    assert sorted(spans)[2] < 0.1


def test_a_client_that_goes_during_a_wait_ends_it(tmp_path: Path) -> None:
    script = [request, error_answer("429 X", "retry-after: 1")]
    with serving(tmp_path, script) as (up, plane):
        client = plane.client()
        client.send(post(ASKED))
        plane.wait_until(lambda: up.requests)
        time.sleep(0.05)
        client.close()
        assert plane.only_record().record.status == "client_gone"
        time.sleep(0.1)
        assert len(up.requests) == 1


BLOCK = event("x" * 8000)


def slow_client(plane: Plane) -> RawClient:
    """A connection whose own buffer is small."""
    client = plane.client()
    client.socket.close()
    client.socket = socket.socket()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    client.socket.connect(("127.0.0.1", plane.port))
    return client


def test_a_slow_reader_pauses_the_backend(tmp_path: Path) -> None:
    """And neither the answer nor its record is ever held whole: parts go to the journal."""
    count = 4000  # 32 MB
    script = [
        request, chunked_head(), repeat(chunk(BLOCK), count), chunk(event(finish="stop") + DONE),
        LAST_CHUNK,
    ]  # fmt: skip
    with serving(tmp_path, script) as (_, plane), slow_client(plane) as client:
        client.send(post(STREAMED))
        answer = client.read_head()
        time.sleep(0.5)
        written = sum(path.stat().st_size for path in (tmp_path / "data/journal").iterdir())
        assert written < 16 << 20  # what the kernel's buffers swallowed, not the whole
        (client_of_plane,) = plane.data_plane._clients
        transport = client_of_plane._transport
        assert transport is not None
        assert plane.call(transport.get_write_buffer_size) < 1 << 20
        assert plane.records() == []
        while client.read_chunk(answer):
            pass
        assert answer.is_whole
        kept = plane.only_record()
        assert kept.record.response_parts > 10
        assert len(kept.record.response or b"") < 2 << 20
        assert kept.response == answer.body == BLOCK * count + event(finish="stop") + DONE


def test_a_pause_of_the_client_is_not_the_backends(tmp_path: Path) -> None:
    """While the client does not read, the backend is not read either: it is not idle."""
    script = [
        request, chunked_head(), repeat(chunk(BLOCK), 2000), chunk(event(finish="stop") + DONE),
        LAST_CHUNK,
    ]  # fmt: skip
    route = "timeout: {total: 20s, idle: 200ms}"
    with serving(tmp_path, script, route=route) as (_, plane), slow_client(plane) as client:
        client.send(post(STREAMED))
        answer = client.read_head()
        before_s = plane.call(time.thread_time)
        time.sleep(0.8)
        busy_s = plane.call(time.thread_time) - before_s
        while client.read_chunk(answer):
            pass
        assert answer.is_whole
        assert busy_s < 0.4, "the loop spins"


def test_a_client_that_stops_reading_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downstream, "WRITE_STALL_S", 0.3)
    monkeypatch.setattr(timing, "COMMENT_EVERY_S", 0.1)
    script = [request, chunked_head(), repeat(chunk(BLOCK), 4000)]
    with serving(tmp_path, script) as (up, plane), slow_client(plane) as client:
        client.send(post(STREAMED))
        client.read_head()
        connection = up.wait_until_finished()
        assert connection.closed_how == "reset"
        assert plane.only_record().ended == ("client_gone", False, None, "client_gone")


def test_a_large_answer_goes_through_in_parts(tmp_path: Path) -> None:
    said = completion(padding="x" * (6 << 20))
    with serving(tmp_path, [request, response(said)]) as (_, plane):
        answer = ask(plane)
        assert (answer.status, answer.is_whole, answer.body == said) == (200, True, True)
        kept = plane.only_record()
        assert kept.ended == ("ok", True, 200, None)
        assert kept.response == said
        assert kept.record.response_parts > 1


def test_a_large_answer_that_breaks_off_is_a_cut(tmp_path: Path) -> None:
    said = response(completion(padding="x" * (6 << 20)))[:-1000]
    with serving(tmp_path, [request, said, stall(0.2), reset]) as (_, plane):
        answer = ask(plane)
        assert not answer.is_whole
        status, is_complete, _, _ = plane.only_record().ended
        assert (status, is_complete) == ("upstream_cut", False)


@pytest.mark.parametrize("end", [fin, notify])
def test_a_large_tls_answer_loses_no_tail(tmp_path: Path, end: Step) -> None:
    """With close_notify or without: uvloop's own TLS lost the tail of 13-23 %."""
    certificates = make_certificates(tmp_path)
    said = completion(padding="x" * (3 << 20))
    script = [request, response(said, "connection: close"), end]
    with ScriptedUpstream(script, tls=certificates.server_context) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}', tls: {{ca: ca.pem}}"
        with Plane(tmp_path, config("  default: {candidates: [a]}", a=declared)) as plane:
            for _ in range(10):
                assert ask(plane).body == said


def test_a_body_until_close_ends_with_close_notify_over_tls(tmp_path: Path) -> None:
    """And the connection is closed by us too: the backend may wait for that."""
    certificates = make_certificates(tmp_path)
    unwrapped: list[float] = []

    def notify_and_wait(connection: Any) -> None:
        started_s = time.monotonic()
        connection._socket.settimeout(2.0)
        with suppress(OSError, ValueError):
            connection._socket.unwrap()
        unwrapped.append(time.monotonic() - started_s)
        connection.fin()

    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
    script = [request, head + completion(), notify_and_wait]
    with ScriptedUpstream(script, tls=certificates.server_context) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}', tls: {{ca: ca.pem}}"
        with Plane(tmp_path, config("  default: {candidates: [a]}", a=declared)) as plane:
            assert ask(plane).body == completion()
            plane.wait_until(lambda: unwrapped)
            assert unwrapped[0] < 1.0
