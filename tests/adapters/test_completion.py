"""Completions are read strictly where they can be, and salvaged where one member is odd."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.completion import (
    TOKENS_MAX,
    Completion,
    decode_completion,
    salvage_completion,
)

PLAIN: dict[str, Any] = {
    "id": "c",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"content": "hi", "tool_calls": [{"id": "t"}]},
            "finish_reason": "stop",
            "logprobs": {"content": [{"token": "hi", "logprob": -0.5}]},
        }
    ],
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
}


def read_completion(body: bytes) -> tuple[Completion | None, bool]:
    """As the reader reads it: strictly, else what can be salvaged."""
    try:
        return decode_completion(body), True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return salvage_completion(body), False


def read(value: object) -> tuple[Completion, bool]:
    completion, is_typed = read_completion(json.dumps(value).encode())
    assert completion is not None
    return completion, is_typed


def test_reads_what_it_knows() -> None:
    completion, is_typed = read(PLAIN | {"timings": {"x": [1, {}]}, "object": None})
    assert is_typed
    assert completion.choices is not None
    assert completion.usage is not None
    [choice] = completion.choices
    assert (completion.id, completion.model, choice.finish_reason) == ("c", "m", "stop")
    assert choice.message is not None
    assert choice.message.content == "hi"
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert choice.logprobs.content[0].logprob == -0.5
    assert completion.usage.completion_tokens == 4
    assert completion.error is msgspec.UNSET


@pytest.mark.parametrize(
    "odd",
    [
        {"id": 7},
        {"model": ["m"]},
        {"usage": "none"},
        {"usage": {"prompt_tokens": "3"}},
        {"usage": {"prompt_tokens": -1}},
        {"usage": {"prompt_tokens": TOKENS_MAX + 1}},
        {"usage": {"prompt_tokens_details": []}},
        {"id": "half \ud83d of a pair"},
    ],
)
def test_one_odd_member_does_not_hide_the_others(odd: dict[str, Any]) -> None:
    completion, is_typed = read(PLAIN | odd)
    assert not is_typed
    assert completion.choices is not None
    [choice] = completion.choices
    assert choice.finish_reason == "stop"
    assert choice.message is not None
    assert choice.message.content == "hi"
    assert choice.message.tool_calls is not None
    if "usage" not in odd:
        assert completion.usage is not None
        assert completion.usage.prompt_tokens == 3
        assert completion.usage.completion_tokens_details is not None
        assert completion.usage.completion_tokens_details.reasoning_tokens == 1


@pytest.mark.parametrize(
    "odd", [{"index": "0"}, {"logprobs": 3}, {"delta": []}, {"message": {"content": "a\ud83d"}}]
)
def test_an_odd_part_of_a_choice_does_not_hide_its_end(odd: dict[str, Any]) -> None:
    completion, _ = read({"choices": [{"finish_reason": "stop", "x": "\ud83d"} | odd, "no choice"]})
    assert completion.choices is not None
    [choice] = completion.choices
    assert choice.finish_reason == "stop"
    if "message" in odd:
        assert choice.message is not None
        assert choice.message.content == "a?"


def test_what_it_salvages_can_be_recorded() -> None:
    completion, _ = read(
        {"id": "\ud83d", "model": "\udc00", "error": {"m": "\ud83d"}, "choices": {}}
    )
    msgspec.msgpack.encode([completion.id, completion.model])
    assert completion.error is not msgspec.UNSET
    assert json.loads(bytes(completion.error)) == {"m": "\ud83d"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"<html>",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1',
        b'{"model": "\xff"}',
        b'{"a": %b%b}' % (b"[" * 200_000, b"]" * 200_000),
    ],
)
def test_what_clients_cannot_read_is_no_object(body: bytes) -> None:
    assert read_completion(body) == (None, False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*PLAIN, *PLAIN["choices"][0], *PLAIN["usage"]]), inner)
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(PLAIN, JSON)))
def test_no_answer_makes_it_raise(value: dict[str, Any]) -> None:
    read_completion(json.dumps(value).encode())


@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode))
def test_garbage_never_raises(body: bytes) -> None:
    read_completion(body)
