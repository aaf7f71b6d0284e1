"""Every API beside chat as a client sees it: bytes both ways, ends, cuts, records."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from proxy import timing
from tests.adapters.test_responses_reader import BEGUN, DELTA, ENDED, WHOLE, event
from tests.support.plane import Plane, serving
from tests.support.raw_client import Answer, post
from tests.support.scripted import (
    LAST_CHUNK,
    Script,
    Step,
    chunk,
    chunked_head,
    fin,
    request,
    reset,
    response,
    stall,
)

COMPLETIONS, RESPONSES, EMBEDDINGS = "/v1/completions", "/v1/responses", "/v1/embeddings"
STREAMED = {"model": "auto", "input": "hi", "stream": True}


def ask(plane: Plane, path: str, body: bytes | dict[str, Any], *headers: str) -> Answer:
    with plane.client() as client:
        return client.ask(body, *headers, path=path)


def stream(*pieces: bytes, end: bytes = LAST_CHUNK) -> list[Step]:
    return [request, chunked_head() + b"".join(map(chunk, pieces)) + end]


def sent(raw: bytes) -> tuple[bytes, bytes]:
    """Target and body of a request."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return head.split(b" ")[1], body


# -- all of them ----------------------------------------------------------------------------------

WHOLES = {
    COMPLETIONS: (
        b'{"model" : "auto", "prompt":"Once", "odd":1.0e2,"echo":true}',
        b'{"id":"cmpl-1","choices":[{"text":" more","index":0,"finish_reason":"length",'
        b'"logprobs":null}], "usage":{"prompt_tokens":1,"completion_tokens":2},"odd":[1.0]}',
    ),
    RESPONSES: (
        b'{"model" : "auto", "input":"hi", "odd":1.0e2,"store":false}',
        json.dumps(WHOLE | {"odd": [1.0]}, indent=1).encode(),
    ),
    EMBEDDINGS: (
        b'{"model" : "auto", "input":["hi"], "encoding_format":"base64","odd":1.0e2}',
        b'{"object":"list","data":[{"embedding":"%b","index":0}],"usage":{"prompt_tokens":1,'
        b'"total_tokens":1}, "odd":1E5}' % base64.b64encode(bytes(range(256))),
    ),
}
APIS = {COMPLETIONS: "completions", RESPONSES: "responses", EMBEDDINGS: "embeddings"}


@pytest.mark.parametrize("path", WHOLES)
def test_unknown_members_and_spellings_survive_both_ways(tmp_path: Path, path: str) -> None:
    body, said = WHOLES[path]
    labels = ("x-pointsman-label-team: a", "x-pointsman-conversation: talk")
    with serving(tmp_path, [request, response(said)]) as (up, plane):
        answer = ask(plane, f"{path}?a=b%20c", body, *labels)
        assert (answer.status, answer.body) == (200, said)
        assert answer.header("x-pointsman-backend") == "a"
        assert answer.header("x-pointsman-edited") == "model"
        kept = plane.only_record()
        record = kept.record
        assert kept.ended == ("ok", True, 200, None)
        assert (record.api, record.request, kept.response) == (APIS[path], body, said)
        assert (record.labels, record.conversation) == ({"team": "a"}, "talk")
        assert record.usage.prompt in (1, 30)
        assert record.cost_usd is not None
        assert answer.header("x-pointsman-decision-id") == record.id
        assert answer.header("x-pointsman-cost-usd") is not None
    target, passed = sent(up.requests[0])
    assert target == f"{path}?a=b%20c".encode()
    assert passed == body.replace(b'"auto"', b'"m-a"')


@pytest.mark.parametrize("path", WHOLES)
def test_metadata_labels_a_request_of_any_api(tmp_path: Path, path: str) -> None:
    body = {"model": "auto", "metadata": {"task": "t", "Team": "a"}}
    with serving(tmp_path, [request, response(WHOLES[path][1])]) as (_, plane):
        assert ask(plane, path, body).status == 200
        record = plane.only_record().record
        assert (record.labels, record.task) == ({"task": "t", "team": "a"}, "t")


@pytest.mark.parametrize("path", WHOLES)
def test_errors_are_as_they_are_for_chat(tmp_path: Path, path: str) -> None:
    refused = response(b'{"error":{"message":"m","type":"t","param":null,"code":null}}',
                       status="400 Bad Request")  # fmt: skip
    with serving(tmp_path, [request, refused]) as (_, plane), plane.client() as client:
        assert client.ask(b"nonsense", path=path).code == (400, "invalid_request_error", None)
        unknown = client.ask({"model": "nobody"}, path=path)
        assert unknown.code == (404, "invalid_request_error", "model_not_found")
        assert client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).read().code == (
            405,
            "invalid_request_error",
            "method_not_supported",
        )
        answer = client.ask({"model": "auto"}, path=path)
        assert answer.status == 400
        assert answer.body == b'{"error":{"message":"m","type":"t","param":null,"code":null}}'


@pytest.mark.parametrize("path", WHOLES)
def test_an_error_with_status_200_or_no_json_is_no_answer(tmp_path: Path, path: str) -> None:
    script = [request, response(b'{"error":{"message":"no","code":503}}')] * 3
    script += [request, response(b"<html>")] * 3
    with serving(tmp_path, script) as (_, plane):
        assert ask(plane, path, {"model": "auto"}).status == 503
        assert ask(plane, path, {"model": "auto"}).status == 502


# -- completions ----------------------------------------------------------------------------------


def text_chunk(text: str, finish: str | None = None, **more: Any) -> bytes:
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    data = {"id": "cmpl-1", "object": "text_completion", "choices": [choice], **more}
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def test_a_streamed_completions_usage_is_asked_for_and_hidden_again(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    said = [
        text_chunk("a", usage=None),
        text_chunk("b", "stop", usage=None),
        b'data: {"id":"cmpl-1","choices":[],"usage":%b}\n\n' % json.dumps(usage).encode(),
        b"data: [DONE]\n\n",
    ]
    with serving(tmp_path, stream(*said)) as (up, plane):
        answer = ask(plane, COMPLETIONS, {"model": "auto", "prompt": "x", "stream": True})
        assert answer.body == text_chunk("a") + text_chunk("b", "stop") + said[-1]
        assert answer.is_whole
        assert plane.only_record().record.usage.completion == 5
    assert json.loads(sent(up.requests[0])[1])["stream_options"] == {"include_usage": True}


def test_every_prompt_must_come_to_its_end(tmp_path: Path) -> None:
    second = text_chunk("b", "stop").replace(b'"index":0', b'"index":1')
    body = {"model": "auto", "prompt": ["x", "y"], "stream": True}
    script = [*stream(text_chunk("a", "stop")), *stream(text_chunk("a", "stop"), second)]
    with serving(tmp_path, script) as (_, plane):
        assert not ask(plane, COMPLETIONS, body).is_whole
        assert ask(plane, COMPLETIONS, body).is_whole


# -- responses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_response_streams_unchanged_to_its_last_event(tmp_path: Path, newline: bytes) -> None:
    said = [one.replace(b"\n", newline) for one in (BEGUN, b": ping\n\n", DELTA, ENDED)]
    with serving(tmp_path, stream(*said)) as (up, plane):
        answer = ask(plane, RESPONSES, STREAMED)
        assert (answer.body, answer.is_whole) == (b"".join(said), True)
        assert b"[DONE]" not in answer.body
        kept = plane.only_record()
        assert kept.ended == ("ok", True, 200, None)
        record = kept.record
        assert (record.finish_reason, record.provider_response_id) == ("stop", "resp_1")
        assert (record.usage.prompt, record.usage.reasoning) == (30, 5)
    assert b"stream_options" not in up.requests[0]


def test_the_last_event_and_the_terminator_come_in_one_write(tmp_path: Path) -> None:
    with serving(tmp_path, stream(BEGUN, ENDED)) as (_, plane), plane.client() as client:
        client.send(post(STREAMED, path=RESPONSES))
        received = b""
        while not received.endswith(LAST_CHUNK):
            last = client.socket.recv(1 << 20)
            received += last
        assert b"response.completed" in last


def test_what_stands_in_the_same_read_behind_the_last_event_is_kept(tmp_path: Path) -> None:
    with serving(tmp_path, stream(BEGUN, ENDED + b"data: [DONE]\n\n")) as (_, plane):
        answer = ask(plane, RESPONSES, STREAMED)
        assert (answer.body, answer.is_whole) == (BEGUN + ENDED + b"data: [DONE]\n\n", True)


@pytest.mark.parametrize("kind", ["response.incomplete", "response.failed"])
def test_an_incomplete_or_failed_response_is_a_whole_stream(tmp_path: Path, kind: str) -> None:
    last = event(kind, 2, response=WHOLE | {"status": kind[9:]})
    with serving(tmp_path, stream(BEGUN, last)) as (_, plane):
        answer = ask(plane, RESPONSES, STREAMED)
        assert (answer.body, answer.is_whole) == (BEGUN + last, True)


@pytest.mark.parametrize(
    "rest", [[stall(0.05), reset], [fin], [LAST_CHUNK], [chunk(b"data: [DONE]\n\n") + LAST_CHUNK]]
)
def test_a_cut_response_ends_with_a_numbered_error_event(tmp_path: Path, rest: list[Step]) -> None:
    script: Script = [request, chunked_head(), chunk(BEGUN), chunk(DELTA), stall(0.05), *rest]
    with serving(tmp_path, script) as (_, plane):
        answer = ask(plane, RESPONSES, STREAMED)
        assert not answer.is_whole
        told = answer.body.removeprefix(BEGUN + DELTA).removeprefix(b"data: [DONE]\n\n")
        first, second, *_ = told.split(b"\n")
        assert first == b"event: error"
        assert json.loads(second.removeprefix(b"data: ")) == {
            "type": "error",
            "code": "upstream_cut",
            "message": "The backend broke off in the middle of its answer.",
            "param": None,
            "sequence_number": 2,
        }
        kept = plane.only_record()
        assert (kept.record.status, kept.response) == ("upstream_cut", answer.body)


def test_an_error_as_first_event_of_a_response_becomes_a_status(tmp_path: Path) -> None:
    said = event("error", 0, code="overloaded", message="later", param=None)
    with serving(tmp_path, [*stream(said)] * 3) as (_, plane):
        answer = ask(plane, RESPONSES, STREAMED)
        assert answer.status == 502
        assert answer.error["code"] == "overloaded"
        assert answer.error["message"] == "later"


def test_a_whole_response_to_a_stream_request_is_the_answer_that_it_is(tmp_path: Path) -> None:
    said = json.dumps(WHOLE).encode()
    with serving(tmp_path, [request, response(said)]) as (_, plane):
        answer = ask(plane, RESPONSES, STREAMED)
        assert (answer.body, answer.header("content-type")) == (said, "application/json")
        assert answer.framing == "length"


def test_silence_is_filled_where_an_event_may_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "COMMENT_EVERY_S", 0.1)
    script: Script = [request, chunked_head(), chunk(BEGUN), stall(0.25), chunk(ENDED), LAST_CHUNK]
    with serving(tmp_path, script) as (_, plane):
        answer = ask(plane, RESPONSES, STREAMED)
        comments = answer.body.count(b": keep-alive\n\n")
        assert comments >= 1
        assert answer.body == BEGUN + b": keep-alive\n\n" * comments + ENDED


def test_nothing_is_put_into_half_an_event_or_coded_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "COMMENT_EVERY_S", 0.1)
    huge = event("response.output_text.delta", 1, delta="x" * 100_000)
    coded = gzip.compress(BEGUN + ENDED)
    gzipped = chunked_head("content-encoding: gzip")
    scripts: list[Script] = [
        [request, chunked_head(), chunk(BEGUN), chunk(huge[:90_000]), stall(0.35),
         chunk(huge[90_000:] + ENDED), LAST_CHUNK,
         request, gzipped, chunk(coded[:60]), stall(0.35), chunk(coded[60:]), LAST_CHUNK],
    ]  # fmt: skip
    with serving(tmp_path, *scripts) as (_, plane):
        assert ask(plane, RESPONSES, STREAMED).body == BEGUN + huge + ENDED
        answer = ask(plane, RESPONSES, STREAMED)
        assert (answer.body, answer.header("content-encoding")) == (coded, "gzip")
        assert answer.is_whole


@pytest.mark.parametrize("size", [100_000, 5_000_000])
def test_a_last_event_too_large_to_be_held_is_still_the_last(tmp_path: Path, size: int) -> None:
    """It repeats the whole answer, with the pictures that were made."""
    picture = {"type": "image_generation_call", "result": "x" * size}
    last = event("response.completed", 2, response=WHOLE | {"output": [picture]})
    script: list[Step] = [request, chunked_head(), chunk(BEGUN)]
    for at in range(0, len(last), size // 4):
        script += [stall(0.02), chunk(last[at : at + size // 4])]
    with serving(tmp_path, [*script, LAST_CHUNK]) as (_, plane):
        answer = ask(plane, RESPONSES, STREAMED)
        assert (answer.body, answer.is_whole) == (BEGUN + last, True)
        kept = plane.only_record()
        assert kept.ended == ("ok", True, 200, None)
        assert kept.response == answer.body
        if size < 1_000_000:
            assert kept.record.usage.prompt == 30
            assert not kept.record.is_unparsed
        else:
            assert kept.record.is_unparsed


def test_a_whole_response_too_large_to_be_held_is_found_again(tmp_path: Path) -> None:
    picture = {"type": "image_generation_call", "result": "x" * 5_000_000}
    said = json.dumps(WHOLE | {"output": [picture], "user": None}).encode()
    with serving(tmp_path, [request, response(said)]) as (_, plane):
        assert ask(plane, RESPONSES, {"model": "auto"}).body == said
        record = plane.only_record().record
        assert (record.usage.prompt, record.usage.reasoning) == (30, 5)
        assert record.provider_response_id == "resp_1"


# -- embeddings -----------------------------------------------------------------------------------


def test_vectors_larger_than_is_held_pass_and_their_usage_is_read(tmp_path: Path) -> None:
    vector = base64.b64encode(b"x" * 3_500_000)
    said = b'{"data":[{"embedding":"%b"}],"model":"m","usage":{"prompt_tokens":7}}' % vector
    with serving(tmp_path, [request, response(said)]) as (_, plane):
        answer = ask(plane, EMBEDDINGS, {"model": "auto", "input": "x"})
        assert answer.body == said
        kept = plane.only_record()
        assert kept.response == said
        assert kept.record.usage.prompt == 7


# -- http/1.0 -------------------------------------------------------------------------------------


def test_an_old_client_gets_a_stream_without_chunks_until_the_close(tmp_path: Path) -> None:
    with serving(tmp_path, stream(BEGUN, ENDED)) as (_, plane), plane.client() as client:
        client.send(post(STREAMED, path=RESPONSES, version="HTTP/1.0"))
        answer = client.read()
        assert (answer.framing, answer.body) == ("close", BEGUN + ENDED)


def test_pipelined_requests_to_different_apis_are_answered_in_order(tmp_path: Path) -> None:
    script = [step for _, said in WHOLES.values() for step in (request, response(said))]
    with serving(tmp_path, script) as (_, plane), plane.client() as client:
        client.send(b"".join(post(body, path=path) for path, (body, _) in WHOLES.items()))
        for _, said in WHOLES.values():
            assert client.read().body == said
