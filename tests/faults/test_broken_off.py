"""F10-F14 and F17: an answer that breaks off, before its first byte or behind it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_proxy import SETTLE_S, FaultProxy, end_after
from tests.support.laboratory import Lab
from tests.support.plane import (
    ASKED,
    DONE,
    EVENTS,
    STREAMED,
    event,
    stream_answer,
    usage_event,
    whole_answer,
)
from tests.support.raw_client import Answer
from tests.support.scripted import (
    LAST_CHUNK,
    Script,
    ScriptedUpstream,
    Step,
    answering,
    chunk,
    chunked_head,
    fin,
    request,
    reset,
    response,
    stall,
    until_closed,
)

BACKUP = "on_failure: [b]"
GOOD = answering(lambda asked: stream_answer(EVENTS, DONE) if b"true" in asked else whole_answer())


def events_of(answer: Answer) -> list[Any]:
    """The data of each event, decoded."""
    lines = [one.removeprefix(b"data: ") for one in answer.body.split(b"\n\n") if one]
    return [json.loads(line) if line != b"[DONE]" else "[DONE]" for line in lines]


# -- F10: reset before the head -------------------------------------------------------------------


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\ncont"], ids=["no byte", "half a head"])
def test_f10_a_reset_before_the_head_is_tried_again_once(
    tmp_path: Path, body: dict[str, Any], said: bytes
) -> None:
    with (
        ScriptedUpstream([request, said, stall(0.03), reset], [GOOD]) as up,
        Lab(tmp_path, a=up.base_url) as lab,
    ):
        answer = lab.ask(body)
        assert (answer.status, answer.is_whole) == (200, True)
        assert answer.header("x-pointsman-attempts") == "2"
        (kind, backend, failure), again = lab.only_record().tried
        assert (kind, backend, failure in ("reset", "cut")) == ("primary", "a", True)
        assert again == ("retry", "a", None)
        assert len(up.requests) == 2


def test_f10_resets_without_an_end_are_a_502_that_says_not_to_retry(tmp_path: Path) -> None:
    with ScriptedUpstream([request, reset]) as up, Lab(tmp_path, a=up.base_url) as lab:
        answer = lab.ask()
        assert answer.code == (502, "server_error", "upstream_error")
        assert answer.header("x-should-retry") == "false"
        assert len(up.requests) <= 3


# -- F11, F12, F13: cut in mid-stream -------------------------------------------------------------

HALF = event("half an ") + event("answer", usage={"prompt_tokens": 7, "completion_tokens": 2})


def assert_is_a_cut(lab: Lab, answer: Answer, up: ScriptedUpstream) -> None:
    """An error event, no terminator, no [DONE]; the record has the tokens of what came before."""
    assert (answer.status, answer.is_whole) == (200, False)
    *said, last = events_of(answer)
    assert [each["choices"][0]["delta"]["content"] for each in said] == ["half an ", "answer"]
    assert (last["error"]["type"], last["error"]["code"]) == ("server_error", "upstream_cut")
    assert b"[DONE]" not in answer.body
    assert b'"finish_reason":"' not in answer.body
    record = lab.only_record().record
    assert (record.status, record.complete, record.http_status) == ("upstream_cut", False, 200)
    assert record.usage is not None
    assert (record.usage.prompt, record.usage.completion) == (7, 2)
    assert len(up.requests) == 1


def played(tmp_path: Path, rest: Script) -> None:
    """Half an answer and this; `b` would be well, and is not asked."""
    script: Script = [request, chunked_head(), chunk(HALF), *rest]
    with (
        ScriptedUpstream(script) as a,
        ScriptedUpstream([until_closed]) as b,
        Lab(tmp_path, route=BACKUP, a=a.base_url, b=b.base_url) as lab,
    ):
        assert_is_a_cut(lab, lab.ask(STREAMED), a)
        assert b.connections == []


def test_f11_a_reset_in_mid_stream_is_a_cut(tmp_path: Path) -> None:
    played(tmp_path, [stall(0.05), reset])


@pytest.mark.parametrize("rest", [b"", b"40\r\ndata: {"], ids=["between", "within a chunk"])
def test_f12_a_fin_without_terminator_is_a_cut(tmp_path: Path, rest: bytes) -> None:
    played(tmp_path, [rest, fin])


@pytest.mark.parametrize("rest", [b"", chunk(b'data: {"cho')], ids=["between", "within an event"])
def test_f13_a_clean_end_without_finish_reason_is_a_cut(tmp_path: Path, rest: bytes) -> None:
    played(tmp_path, [rest, LAST_CHUNK])


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_f11_f12_cut_anywhere_it_is_never_complete(tmp_path: Path, how: Any) -> None:
    """Behind every byte of a whole stream: a retry, a cut, or complete where nothing is missing.

    What is complete is judged by the books; here it counts that all of them balance.
    """
    whole = stream_answer(event("a"), event("b", "stop"), DONE)
    head = len(chunked_head())
    done = whole.index(b"[DONE]")
    with (
        ScriptedUpstream([GOOD]) as up,
        FaultProxy(up.port) as link,
        ScriptedUpstream([answering(lambda asked: whole)]) as far,
        FaultProxy(far.port) as spoilt,
        Lab(tmp_path, route=BACKUP, a=spoilt.base_url, b=link.base_url) as lab,
    ):
        for count in (*range(head - 3, head + 60, 7), *range(done - 20, len(whole), 5)):
            spoilt.downstream = [end_after(count, how)]
            answer = lab.ask(STREAMED)
            if answer.is_whole and answer.header("x-pointsman-backend") == "a":
                assert count >= whole.index(b'"finish_reason":"stop"')
        time.sleep(2 * SETTLE_S)  # the last connection ends


# -- F14: no [DONE] -------------------------------------------------------------------------------

ENDINGS: dict[str, bytes] = {
    "finish_reason": event("x") + event(finish="stop"),
    "finish_reason with the last words": event("x", "stop"),
    "usage behind it": event("x", "stop") + usage_event(),
}


@pytest.mark.parametrize("said", ENDINGS.values(), ids=ENDINGS)
def test_f14_without_done_it_is_complete_and_nothing_is_added(tmp_path: Path, said: bytes) -> None:
    asked = {**STREAMED, "stream_options": {"include_usage": True}}
    with (
        ScriptedUpstream([request, stream_answer(said)]) as up,
        Lab(tmp_path, a=up.base_url) as lab,
    ):
        answer = lab.ask(asked)
        assert (answer.body, answer.is_whole) == (said, True)
        assert lab.only_record().ended == ("ok", True, 200, None)


# -- F17: an error as the first event of a 200 ----------------------------------------------------


def error_event(code: object) -> bytes:
    """An error in place of an answer."""
    error = {"message": "no", "type": "t", "param": None, "code": code}
    return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"


@pytest.mark.parametrize("code", [400, 429, 503, "overloaded", None])
def test_f17_it_becomes_a_real_status(tmp_path: Path, code: object) -> None:
    said = stream_answer(error_event(code), DONE)
    with (
        ScriptedUpstream([answering(lambda asked: said)]) as up,
        Lab(tmp_path, a=up.base_url) as lab,
    ):
        answer = lab.ask(STREAMED)
        assert answer.status == (code if isinstance(code, int) else 502)
        assert answer.header("content-type") == "application/json"
        assert answer.error["code"] == code
        assert lab.only_record().record.status == "error"


def test_f17_another_backend_may_answer(tmp_path: Path) -> None:
    script: list[Step] = [request, stream_answer(error_event(503))] * 2
    with (
        ScriptedUpstream(script) as a,
        ScriptedUpstream([GOOD]) as b,
        Lab(tmp_path, route=BACKUP, a=a.base_url, b=b.base_url) as lab,
    ):
        answer = lab.ask(STREAMED)
        assert (answer.is_whole, answer.header("x-pointsman-backend")) == (True, "b")


def test_f17_an_error_in_place_of_a_whole_answer_is_none(tmp_path: Path) -> None:
    said = response(b'{"error":{"message":"no","type":"t","param":null,"code":503}}')
    with (
        ScriptedUpstream([answering(lambda asked: said)]) as a,
        ScriptedUpstream([GOOD]) as b,
        Lab(tmp_path, route=BACKUP, a=a.base_url, b=b.base_url) as lab,
    ):
        assert lab.ask().header("x-pointsman-backend") == "b"
        assert lab.ask({**ASKED, "model": "a"}).status == 503


def test_f17_behind_some_of_the_answer_it_is_no_complete_answer(tmp_path: Path) -> None:
    said = stream_answer(event("half"), error_event(500), DONE)
    with ScriptedUpstream([request, said]) as up, Lab(tmp_path, a=up.base_url) as lab:
        answer = lab.ask(STREAMED)
        assert error_event(500) in answer.body
        assert b"[DONE]" not in answer.body
        assert not lab.only_record().record.complete
