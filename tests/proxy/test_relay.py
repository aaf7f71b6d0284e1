"""What the client did not ask for is hidden; every other byte of the answer stays."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay import hide_in_events, hide_logprobs

DONE = b"data: [DONE]\n\n"
CONTENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a"}}],"usage":null}\n\n'
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
LOGPROBS = {"content": [{"token": '"logprobs": null', "logprob": -0.5, "top_logprobs": []}]}


def hide(data: bytes, *, usage: bool = True, logprobs: bool = False) -> bytes:
    return hide_in_events(data, usage=usage, logprobs=logprobs)


def event(value: object, end: bytes = b"\n\n") -> bytes:
    return b"data: " + json.dumps(value).encode() + end


def test_takes_out_the_usage_event_and_the_usage_nulls() -> None:
    bare = CONTENT.replace(b',"usage":null', b"")
    assert hide(CONTENT + CONTENT + USAGE + DONE) == bare + bare + DONE


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"usage":null,"choices":[{}]}', b'{"choices":[{}]}'),
        (b'{ "a": 1.0 , "usage" : null , "choices":[{}]}', b'{ "a": 1.0 ,  "choices":[{}]}'),
        (b'{"choices":[],"prompt_filter_results":[],"usage":null}',
         b'{"choices":[],"prompt_filter_results":[]}'),
        (b'{"choices":[{"usage":null}],"usage":null}', b'{"choices":[{"usage":null}]}'),
    ],
)  # fmt: skip
def test_null_usage_goes_wherever_it_stands(before: bytes, after: bytes) -> None:
    assert hide(b"data: %b\n\n" % before) == b"data: %b\n\n" % after


@pytest.mark.parametrize(
    "data",
    [
        event({"choices": [{"delta": {"content": "x"}}], "usage": {"completion_tokens": 2}}),
        event({"choices": [{"delta": {"content": 'the "usage": null of it'}}]}),
        event({"choices": [{"x": {"usage": None}}]}),
        event({"choices": []}),
        b'data: {"usage": broken\n\n',
        b'data: {"usage":\ndata: null}\n\n',
        b': "usage" in a comment\n\n',
        b'data: {"usage":1,"usage":null}\n\n',
        b'data: "usage"\n\n',
        b'data: {"choices": 5, "usage": null}\n\n',
    ],
)
def test_everything_else_stays_byte_for_byte(data: bytes) -> None:
    assert hide(data, logprobs=True) == data


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_fields_around_the_data_stay(end: bytes) -> None:
    line = end[: len(end) // 2]
    data = b"event: e" + line + b"id: 7" + line + CONTENT.rstrip() + end
    assert hide(data) == data.replace(b',"usage":null', b"")
    assert hide(USAGE.rstrip() + end + b": ping" + end) == b": ping" + end


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "usage", ',"usage":null}']),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["usage", "a", 'x","usage"']), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["usage", "a", "b"]), values, max_size=3))
def test_a_chunk_is_the_same_but_for_its_null_usage(chunk: dict[str, Any]) -> None:
    text = json.dumps(chunk, separators=(",", ":")).encode()
    shown = hide(b"data: %b\n\n" % text)
    if chunk.get("usage", 0) is None:
        del chunk["usage"]
        assert json.loads(shown.removeprefix(b"data: ")) == chunk
    elif "usage" not in chunk:
        assert shown == b"data: %b\n\n" % text


def test_logprobs_read_as_null() -> None:
    value = {"choices": [{"index": 0, "logprobs": LOGPROBS, "delta": {"content": "a"}}]}
    hidden = value | {"choices": [value["choices"][0] | {"logprobs": None}]}
    assert hide(event(value), usage=False, logprobs=True) == event(hidden)
    assert hide(event(value)) == event(value)


def test_logprobs_are_hidden_also_beside_a_merged_usage() -> None:
    choice = {"logprobs": LOGPROBS, "finish_reason": "stop"}
    value = {"choices": [choice], "usage": {"completion_tokens": 2}}
    hidden = value | {"choices": [choice | {"logprobs": None}]}
    assert hide(event(value), logprobs=True) == event(hidden)


CHOICES = st.lists(
    st.fixed_dictionaries(
        {"message": st.fixed_dictionaries({"content": st.sampled_from(["a", '"logprobs": {}'])})},
        optional={
            "logprobs": st.sampled_from([None, {}, {"content": []}, LOGPROBS, {"logprobs": {}}]),
            "finish_reason": st.just("stop"),
        },
    ),
    max_size=5,
)


@given(CHOICES, st.sampled_from([None, 1]), st.sampled_from([(",", ":"), (" ,\n", "\t: ")]))
def test_every_choices_logprobs_are_hidden_and_nothing_else(
    choices: list[dict[str, Any]], indent: int | None, separators: tuple[str, str]
) -> None:
    value = {"id": "logprobs", "choices": choices, "logprobs": 1}
    hidden = [c | {"logprobs": None} if "logprobs" in c else c for c in choices]

    def text(of: dict[str, Any]) -> str:
        return json.dumps(of, indent=indent, separators=separators)

    result = hide_logprobs(text(value).encode())
    assert json.loads(result) == value | {"choices": hidden}
    if indent is None:
        assert result.decode() == text(value | {"choices": hidden})


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"choices": 1}', b"\xff", b"[" * 99_999])
def test_what_cannot_be_read_stays(body: bytes) -> None:
    assert hide_logprobs(body) == body
    data = b'data: "logprobs" "usage"' + body + b"\n\n"
    assert hide(data, logprobs=True) == data


def test_long_logprobs_are_hidden_fast() -> None:
    token = {
        "token": "yard",
        "logprob": -0.5,
        "top_logprobs": [{"token": "(.*)", "logprob": -9}] * 20,
    }
    choice = {"message": {"content": "x"}, "logprobs": {"content": [token] * 1000}}
    body = json.dumps({"choices": [choice] * 4}).encode()
    started = time.thread_time()
    hidden = json.loads(hide_logprobs(body))
    assert time.thread_time() - started < 0.2
    assert [choice["logprobs"] for choice in hidden["choices"]] == [None] * 4


@given(st.binary(max_size=60), st.booleans(), st.booleans())
def test_garbage_never_raises(data: bytes, usage: bool, logprobs: bool) -> None:
    hide(b'data: "usage" "logprobs" ' + data, usage=usage, logprobs=logprobs)
    assert hide(data, usage=usage, logprobs=logprobs) == data
