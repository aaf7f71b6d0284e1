import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.assemble import assemble


def chunk(delta=None, *, index=0, finish=None, **more):
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


def answer(*messages, finish="stop"):
    choices = [
        {"index": n, "message": message, "finish_reason": finish}
        for n, message in enumerate(messages)
    ]
    return json.dumps({"choices": choices}).encode()


def test_a_plain_answer_is_its_message():
    found = assemble(answer({"role": "assistant", "content": "hello", "refusal": None}))
    assert found.message == {"role": "assistant", "content": "hello"}
    assert (found.finish_reason, found.choices, found.is_whole) == ("stop", 1, True)


def test_a_stream_becomes_one_message():
    body = (
        b": ping\r\n\r\n"
        + chunk({"role": "assistant", "content": ""})
        + chunk({"content": "hel"})
        + chunk({"content": "lo ü"}).replace(b"\n", b"\r\n")
        + chunk(finish="stop")
        + b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\ndata: [DONE]\n\n'
    )
    found = assemble(body)
    assert found.message == {"role": "assistant", "content": "hello ü"}
    assert (found.finish_reason, found.choices, found.is_whole) == ("stop", 1, True)


def test_a_stream_without_its_end_is_not_whole():
    found = assemble(chunk({"content": "hel"}))
    assert found.message["content"] == "hel"
    assert not found.is_whole


def test_tool_calls_come_in_pieces():
    def call(index, **parts):
        return chunk({"tool_calls": [{"index": index, **parts}]})

    body = (
        call(0, id="a", type="function", function={"name": "look", "arguments": ""})
        + call(1, id="b", type="function", function={"name": "find", "arguments": "{}"})
        + call(0, function={"arguments": '{"x":'})
        + call(0, function={"arguments": "1}"})
        + chunk(finish="tool_calls")
    )
    assert assemble(body).message == {
        "role": "assistant",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"x":1}'}},
            {"id": "b", "type": "function", "function": {"name": "find", "arguments": "{}"}},
        ],
    }


def test_the_first_choice_is_taken_and_the_others_counted():
    assert assemble(answer({"content": "one"}, {"content": "two"})).choices == 2
    body = chunk({"content": "b"}, index=1) + chunk({"content": "a"}) + chunk(finish="stop")
    found = assemble(body)
    assert (found.message["content"], found.choices) == ("a", 2)


def test_thinking_is_kept_apart_from_what_was_said():
    body = chunk({"reasoning_content": "hmm"}) + chunk({"content": "yes"}) + chunk(finish="stop")
    assert assemble(body).message == {
        "role": "assistant",
        "content": "yes",
        "reasoning_content": "hmm",
    }


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"{", b'{"choices":[]}', b'{"choices":[1]}', b'{"choices":[{"message":1}]}',
     b"data: {}\n\n", b"data: [DONE]\n\n", b"<html>", b'data: {"choices":7}\n\n', b"\xff"],
)  # fmt: skip
def test_what_is_no_answer_is_none(body):
    assert assemble(body) is None


@given(st.text(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_text_is_the_same_however_it_was_cut(text, cuts):
    borders = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in pairwise(borders)]
    body = b"".join(chunk({"content": piece}) for piece in pieces) + chunk(finish="stop")
    assert assemble(body).message["content"] == text


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(body):
    assemble(body)
    assemble(b"data: " + body + b"\n\n")
