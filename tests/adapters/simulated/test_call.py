"""What a request asks for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.simulated.call import Call, CallRefused, read_call

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "image_url"}]},
    {"role": "assistant", "content": None},
    {"role": "user", "content": "Two"},
    {"role": "tool", "content": "3"},
]


def read(**members: object) -> Call:
    return read_call(json.dumps({"model": "m", "messages": MESSAGES} | members).encode(), model="m")


def test_the_prompt_is_the_last_user_message() -> None:
    assert read().prompt == "Two"
    assert read(messages=MESSAGES[:3]).prompt == "One"
    assert read(messages=MESSAGES[:1]).prompt == "Be brief."
    assert read().prompt_characters == len("Be brief.OneTwo3")


def test_members_it_does_not_know_are_ignored() -> None:
    assert read(new_member={"a": 1}, temperature=0.3) == read()


def test_nulls_are_as_good_as_absent() -> None:
    nulls = dict.fromkeys(
        ("stream", "stream_options", "n", "max_tokens", "stop", "logprobs", "response_format",
         "tools", "tool_choice", "metadata")
    )  # fmt: skip
    assert read(**nulls) == read()


@pytest.mark.parametrize(
    ("members", "param"),
    [({"n": 0}, "n"), ({"n": 129}, "n"), ({"max_completion_tokens": -1}, "max_completion_tokens"),
     ({"top_logprobs": 21}, "top_logprobs"), ({"metadata": {"simulate": "bang"}}, "metadata"),
     ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice")],
)  # fmt: skip
def test_bad_values_are_refused_by_name(members: dict[str, object], param: str) -> None:
    with pytest.raises(CallRefused) as refused:
        read(**members)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"model":"m"}', b'{"messages":[]}', b"\xff"])
def test_bad_bodies_are_refused(raw: bytes) -> None:
    with pytest.raises(CallRefused) as refused:
        read_call(raw, model="m")
    assert refused.value.status == 400


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(raw: bytes) -> None:
    with pytest.raises(CallRefused):
        read_call(raw, model="m")
