"""What is written of a request whose route says `redact: true`; what passes stays as it is."""

import gzip
import json
import sqlite3
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import redacting
from proxy.redacting import CLEAN, LEFT_OUT, MASKED, redacted, redacted_body, redacted_feedback
from telemetry.record import FeedbackRecord
from tests.support.answered import attempt, record
from tests.support.plane import (
    ASKED,
    DONE,
    STREAMED,
    Plane,
    ask,
    completion,
    config,
    event,
    serving,
    stream_answer,
    whole_answer,
)
from tests.support.records import fold
from tests.support.scripted import ScriptedUpstream, request, response

MAIL = "bob@example.com"
SAID = f"Write to {MAIL}, card 4111 1111 1111 1111."
HIDDEN = "Write to <EMAIL_1>, card <CARD_1>."
REDACT = "redact: true"


def about(text, **more):
    return {**ASKED, "messages": [{"role": "user", "content": text}], **more}


def streamed(text, *, size):
    """`text` in pieces of `size` characters, as chunks of a stream."""
    pieces = [text[place : place + size] for place in range(0, len(text), size)]
    return b"".join([*map(event, pieces), event(finish="stop"), DONE])


def text_of(stream):
    """What the pieces of a stream say together."""
    lines = [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: {")]
    choices = [json.loads(line)["choices"] for line in lines]
    return "".join(one["delta"].get("content") or "" for (one,) in choices if one)


# -- on the wire and on the disk ------------------------------------------------------------------


def test_the_call_is_as_it_was_made_and_the_record_is_masked(tmp_path):
    with serving(tmp_path, [request, whole_answer(SAID)], route=REDACT) as (up, plane):
        answer = ask(plane, about(f"I am {MAIL}", user=MAIL), "x-pointsman-label-mail: " + MAIL)
        assert answer.body == completion(SAID)
        assert MAIL.encode() in up.requests[0]
        kept = plane.only_record()
        assert kept.record.pii_state == MASKED
        assert json.loads(kept.record.request)["messages"][0]["content"] == "I am <EMAIL_1>"
        assert json.loads(kept.response)["choices"][0]["message"]["content"] == HIDDEN
        assert kept.record.user == kept.record.labels["mail"] == "<EMAIL_1>"
        assert not left_on_disk(plane, MAIL)
        assert not left_on_disk(plane, "4111")


def left_on_disk(plane, text):
    """Files of the data directory that hold `text`."""
    files = [one for one in plane.configuration.capture.directory.rglob("*") if one.is_file()]
    assert files
    return [one for one in files if text.encode() in one.read_bytes()]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_stream_is_masked_across_its_pieces(tmp_path, size):
    body = streamed(SAID, size=size)
    with serving(tmp_path, [request, stream_answer(body)], route=REDACT) as (_, plane):
        assert ask(plane, STREAMED).body == body
        kept = plane.only_record()
        assert text_of(kept.response) == HIDDEN
        assert kept.response.endswith(DONE)
        assert not left_on_disk(plane, MAIL)
        assert not left_on_disk(plane, "bob@")


def test_a_route_without_the_word_keeps_every_byte(tmp_path):
    with serving(tmp_path, [request, whole_answer(SAID)]) as (_, plane):
        ask(plane, about(MAIL))
        kept = plane.only_record()
        assert (kept.response, kept.record.pii_state) == (completion(SAID), CLEAN)


def test_a_request_no_route_took_is_masked_where_the_default_says_so(tmp_path):
    with serving(tmp_path, [], route=REDACT) as (_, plane):
        assert ask(plane, {**about(MAIL), "model": "nobody"}).status == 404
        assert ask(plane, f'{{"messages": "{MAIL}'.encode()).status == 400
        plane.wait_for_records(2)
        assert not left_on_disk(plane, MAIL)


def test_a_long_answer_is_not_written_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("proxy.recording.MASKED_BYTES_MAX", 1000)
    body = streamed(SAID * 40, size=50)
    with serving(tmp_path, [request, stream_answer(body)], route=REDACT) as (_, plane):
        assert ask(plane, STREAMED).body == body
        record = plane.only_record().record
        assert (record.response, record.response_parts) == (None, 0)
        assert (record.response_sha256, record.response_bytes) == (sha256(body).digest(), len(body))
        assert record.pii_state == LEFT_OUT
        assert not left_on_disk(plane, MAIL)


def test_an_answer_that_failed_its_checks_is_masked_too(tmp_path):
    with (
        ScriptedUpstream([request, whole_answer(SAID)]) as a,
        ScriptedUpstream([request, whole_answer("{}")]) as b,
    ):
        routes = "  default: {candidates: [a], checks: c, escalate: {to: [b]}, redact: true}"
        text = config(
            routes, top="checks: {c: {schema: {type: object}}}", a=a.base_url, b=b.base_url
        )
        with Plane(tmp_path, text) as plane:
            ask(plane)
            first, _ = plane.only_record().record.attempts
            assert b"<EMAIL_1>" in first.body
            assert not left_on_disk(plane, MAIL)


def test_a_copys_answer_is_masked_and_found_by_the_kept_question(tmp_path):
    with (
        ScriptedUpstream([request, whole_answer("x")]) as a,
        ScriptedUpstream([request, whole_answer(SAID)]) as b,
    ):
        routes = "  default: {candidates: [a], shadow: {backend: b, share: 100%}, redact: true}"
        with Plane(tmp_path, config(routes, a=a.base_url, b=b.base_url)) as plane:
            ask(plane, about(MAIL))
            plane.wait_until(lambda: plane.count("shadows_total", backend="b", outcome="labelled"))
            assert not left_on_disk(plane, MAIL)
            directory = plane.configuration.capture.directory
        fold(directory)
    (day,) = directory.glob("capture-*.db")
    (asked,) = sqlite3.connect(day).execute("select input_hash, pii_state from requests")
    (label,) = sqlite3.connect(directory / "learning.db").execute(
        "select input_hash, output from labels"
    )
    assert label[0] == asked[0]
    assert asked[1] == MASKED
    assert b"<EMAIL_1>" in label[1]


# -- what is masked -------------------------------------------------------------------------------


def test_the_same_value_has_the_same_placeholder_all_over_a_record():
    asked, said = json.dumps(about(MAIL)).encode(), completion(f"{MAIL} eve@example.com")
    masked = redacted(record(attempt(body=said), request=asked, response=said))
    assert b"<EMAIL_1>" in masked.request
    assert b"<EMAIL_1> <EMAIL_2>" in masked.response
    assert masked.attempts[0].body == masked.response


def test_what_holds_nothing_keeps_its_bytes():
    body = b'{ "messages" : [{"role":"user","content":"caf\\u00e9 1,250.10"}] }'
    masked = redacted(record(request=body, response=completion("ok")))
    assert (masked.request, masked.response) == (body, completion("ok"))
    assert masked.pii_state == CLEAN


def test_an_escaped_value_is_found():
    body = b'{"messages":[{"role":"user","content":"bob\\u0040example.com"}]}'
    assert b"<EMAIL_1>" in redacted_body(body)


def test_tokens_do_not_spell_it_again():
    answer = json.loads(completion(MAIL))
    answer["choices"][0]["logprobs"] = {"content": [{"token": "bob@"}, {"token": "example.com"}]}
    masked = json.loads(redacted_body(json.dumps(answer).encode()))
    assert masked["choices"][0]["logprobs"] is None


def test_arguments_of_a_streamed_tool_call_are_one_text():
    def piece(arguments, **more):
        call = {"index": 0, **more, "function": {"arguments": arguments}}
        chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    stream = piece('{"to": "bob@', id="c", type="function") + piece('example.com"}') + DONE
    masked = redacted_body(stream)
    assert b"example.com" not in masked
    assert b"<EMAIL_1>" in masked


def test_two_choices_are_two_texts():
    stream = b""
    for index, text in ((0, "bob@exa"), (1, "one"), (0, "mple.com"), (1, "two")):
        chunk = {"choices": [{"index": index, "delta": {"content": text}}]}
        stream += b"data: " + json.dumps(chunk).encode() + b"\n\n"
    masked = redacted_body(stream)
    assert b"mple.com" not in masked
    assert b'"one"' in masked
    assert b'"two"' in masked


def test_events_of_another_api_keep_their_names():
    stream = b""
    for text in ("bob@exa", "mple.com"):
        data = {"type": "content_block_delta", "index": 0, "delta": {"text": text}}
        stream += b"event: content_block_delta\ndata: " + json.dumps(data).encode() + b"\n\n"
    masked = redacted_body(stream + b"event: message_stop\ndata: {}\n\n")
    assert masked.count(b"event: content_block_delta\n") == 2
    assert masked.endswith(b"event: message_stop\ndata: {}\n\n")
    assert b"<EMAIL_1>" in masked


@pytest.mark.parametrize(
    "body",
    [b"<html>bob@example.com</html>", b'{"a": ', b"data: {\n\n", b"\x1f\x8b\x00gzip", b"[" * 9999],
)
def test_what_cannot_be_masked_is_not_kept_but_for_its_hash(body):
    masked = redacted(record(request=body, response=body))
    assert (masked.request, masked.response, masked.pii_state) == (None, None, LEFT_OUT)
    assert masked.request_sha256 == masked.response_sha256 == sha256(body).digest()
    assert masked.request_bytes == len(body)


def test_what_is_too_large_to_be_masked_is_not_kept(monkeypatch):
    monkeypatch.setattr(redacting, "BODY_BYTES_MAX", 10)
    assert redacted(record(request=b'{"messages": []}')).request is None


def test_a_list_of_addresses_is_not_kept():
    many = " ".join(f"u{number}@example.com" for number in range(1001))
    assert redacted_body(json.dumps([many]).encode()) is None


def test_feedback_is_masked():
    told = FeedbackRecord(
        "f", "r", 1, "note", text=f"ask {MAIL}", demonstration=json.dumps(SAID).encode()
    )
    masked = redacted_feedback(told)
    assert masked.text == "ask <EMAIL_1>"
    assert "<CARD_1>" in json.loads(masked.demonstration)
    assert redacted_feedback(msgspec.structs.replace(told, demonstration=None)).text


@given(st.text(max_size=30), st.text(max_size=30), st.integers(1, 7))
def test_wherever_a_stream_is_cut_the_address_is_found(before, after, size):
    text = f"{before} {MAIL} {after}"
    assert MAIL not in text_of(redacted_body(streamed(text, size=size)))


@given(st.binary(max_size=200))
def test_anything_can_be_looked_at(body):
    redacted_body(body)


def test_a_whole_answer_in_a_coding_is_not_kept(tmp_path):
    coded = response(gzip.compress(completion(SAID)), "content-encoding: gzip")
    with serving(tmp_path, [request, coded], route=REDACT) as (_, plane):
        ask(plane)
        assert plane.only_record().response is None
