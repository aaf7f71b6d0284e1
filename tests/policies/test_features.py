import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.features import parse_chat, prompt_text, read_features, response_schema
from policies.identity import LABELS_MAX
from policies.request import RequestError
from tests.support.policy_cases import chat, features_of


@pytest.mark.parametrize(
    ("body", "message", "param", "code"),
    [
        (b"", "The request body is not valid JSON.", None, None),
        (b'{"model": "a"', "The request body is not valid JSON.", None, None),
        (b'{"model": "a"} {}', "The request body is not valid JSON.", None, None),
        (b'{"model": "\xff"}', "The request body is not valid JSON.", None, None),
        (b'{"model": "a", "x": NaN}', "The request body is not valid JSON.", None, None),
        (b"[]", "The request body must be a JSON object.", None, None),
        (b"null", "The request body must be a JSON object.", None, None),
        (b"{}", "You must provide a model parameter.", "model", None),
        (b'{"model": 1}', "Invalid type for 'model': expected a string.", "model", "invalid_type"),
        (
            b'{"model": null}',
            "Invalid type for 'model': expected a string.",
            "model",
            "invalid_type",
        ),
        (
            b'{"model": "a", "stream": 1}',
            "Invalid type for 'stream': expected a boolean.",
            "stream",
            "invalid_type",
        ),
    ],
)
def test_names_what_is_wrong_with_a_body(body, message, param, code):
    with pytest.raises(RequestError) as caught:
        parse_chat(body)
    assert (caught.value.message, caught.value.param, caught.value.code) == (message, param, code)


def test_refuses_nesting_without_end():
    body = b'{"model": "a", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(RequestError, match="nested too deeply"):
        parse_chat(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_request_error(body):
    try:
        request = parse_chat(body)
    except RequestError:
        return
    features_of(request)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
FIELDS = (
    "messages", "tools", "functions", "metadata", "user", "max_tokens", "max_completion_tokens",
    "n", "response_format", "logprobs", "stream_options",
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_every_other_field_may_be_of_any_type(fields):
    request = parse_chat(json.dumps({"model": "auto", **fields}).encode())
    features = features_of(request)
    assert features.model == "auto"
    assert features.choices >= 1
    assert isinstance(prompt_text(request), str)
    response_schema(request)


def test_reads_the_envelope():
    features = features_of(
        chat(
            model="gpt-4",
            stream=True,
            n=2,
            user="u1",
            max_tokens=64,
            logprobs=True,
            stream_options={"include_usage": True},
            response_format={"type": "json_object"},
            tools=[{"type": "function", "function": {"name": "look_up"}}],
        )
    )
    assert features.model == "gpt-4"
    assert features.is_stream
    assert features.choices == 2
    assert features.user == "u1"
    assert features.max_tokens == 64
    assert features.wants_logprobs
    assert features.include_usage
    assert features.response_format == "json_object"
    assert features.has_tools
    assert not features.has_images


def test_absent_fields_ask_for_nothing():
    features = features_of(chat())
    assert not features.is_stream
    assert features.choices == 1
    assert features.user is None
    assert features.max_tokens is None
    assert features.response_format is None
    assert not features.wants_logprobs
    assert not features.include_usage
    assert not features.has_tools


def test_newer_token_limit_wins():
    assert features_of(chat(max_tokens=10, max_completion_tokens=20)).max_tokens == 20


@pytest.mark.parametrize("value", [True, 0, -1, 1.5, "64", None])
def test_token_limit_that_is_no_count_is_none(value):
    assert features_of(chat(max_tokens=value)).max_tokens is None


def test_sees_images_but_not_words_about_them():
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    words = [{"type": "text", "text": 'send "image_url" please'}]
    assert features_of(chat(messages=[{"role": "user", "content": picture}])).has_images
    assert not features_of(chat(messages=[{"role": "user", "content": words}])).has_images


@pytest.mark.parametrize("tools", [[], None, {}, "look_up"])
def test_no_tools_without_a_list_of_some(tools):
    assert not features_of(chat(tools=tools)).has_tools


def test_tools_of_a_shape_not_known_are_tools():
    assert features_of(chat(tools=[{"type": "function", "function": None}])).has_tools


def test_prompt_bytes_are_of_messages_and_tools():
    messages = b'[{"role":"user","content":"Hello"}]'
    request = parse_chat(b'{"model":"a","messages":' + messages + b',"tools":[ ]}')
    assert features_of(request).prompt_bytes == len(messages) + 3


def test_prompt_bytes_are_of_the_body_without_messages():
    request = parse_chat(b'{"model":"a"}')
    features = read_features(
        request, body_bytes=13, label_headers={}, conversation_header=None, caller=None
    )
    assert features.prompt_bytes == 13


# -- labels --------------------------------------------------------------------------------------


def test_header_label_wins_over_metadata():
    features = features_of(chat(metadata={"Task": "body", "app": "x"}), labels={"TASK": "header"})
    assert features.labels == {"task": "header", "app": "x"}
    assert features.labels_ignored == 0


def test_labels_beyond_the_limit_are_counted():
    features = features_of(chat(metadata={f"l{i}": "v" for i in range(LABELS_MAX + 3)}))
    assert len(features.labels) == LABELS_MAX
    assert features.labels_ignored == 3


@pytest.mark.parametrize("value", ["x" * 129, "é" * 65, 1, None, True, ["a"]])
def test_labels_that_are_too_long_or_no_text_are_counted(value):
    features = features_of(chat(metadata={"a": value, "b": "x" * 128}))
    assert list(features.labels) == ["b"]
    assert features.labels_ignored == 1


def test_metadata_that_is_no_object_has_no_labels():
    assert features_of(chat(metadata=["a"])).labels == {}


# -- task and conversation -----------------------------------------------------------------------

SYSTEM = {"role": "system", "content": "Extract the payoff."}
USER = {"role": "user", "content": "Payoff 1,250.10"}


def tools(*names):
    return [{"type": "function", "function": {"name": name}} for name in names]


def test_task_is_the_label_of_that_name():
    assert features_of(chat(), labels={"task": "extract-1"}).task == "extract-1"


def test_task_is_what_the_system_prompt_and_the_tools_have_in_common():
    task = features_of(chat(messages=[SYSTEM, USER], tools=tools("a", "b"))).task
    other_words = {"role": "user", "content": "other"}
    assert features_of(chat(messages=[SYSTEM, other_words], tools=tools("a", "b"))).task == task
    assert features_of(chat(messages=[USER], tools=tools("a", "b"))).task != task
    assert features_of(chat(messages=[SYSTEM, USER], tools=tools("a"))).task != task


def test_developer_prompt_is_a_system_prompt():
    developer = {"role": "developer", "content": SYSTEM["content"]}
    one, other = chat(messages=[developer, USER]), chat(messages=[SYSTEM, USER])
    assert features_of(one).task == features_of(other).task


def test_conversation_is_the_header():
    assert features_of(chat(), conversation="c-1").conversation == "c-1"


def test_conversation_header_of_any_length_has_a_bounded_name():
    long = features_of(chat(), conversation="c" * 1000).conversation
    assert len(long) == 32
    assert long != features_of(chat(), conversation="c" * 1001).conversation


def test_conversation_stays_the_same_as_it_grows():
    first = chat(messages=[SYSTEM, USER])
    later = chat(messages=[SYSTEM, USER, {"role": "assistant", "content": "1250.1"}, USER])
    assert features_of(first).conversation == features_of(later).conversation


def test_conversation_is_the_callers_own():
    one, other = features_of(chat(), caller="a"), features_of(chat(), caller="b")
    assert one.conversation != other.conversation


def test_conversation_parts_do_not_run_into_each_other():
    words = [{"role": "user", "content": "c"}]
    with_system = chat(messages=[{"role": "system", "content": "b"}, *words])
    one = features_of(with_system, caller="a").conversation
    assert one != features_of(chat(messages=words), caller='a"b"').conversation


# -- for what judges an answer -------------------------------------------------------------------


def test_prompt_text_is_every_text_of_the_messages():
    parts = [{"type": "text", "text": "two"}, {"type": "image_url", "image_url": {"url": "u"}}]
    request = chat(
        messages=[
            {"role": "system", "content": "one"},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": None},
        ]
    )
    assert prompt_text(request) == "one\ntwo"


def test_response_schema_is_the_clients():
    schema = {"type": "object"}
    wrapped = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert response_schema(chat(response_format=wrapped)) == schema
    assert features_of(chat(response_format=wrapped)).response_format == "json_schema"


@pytest.mark.parametrize(
    "response_format",
    [
        None,
        "json",
        {"type": "json_object"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"schema": 3}},
    ],
)
def test_response_schema_is_none_where_there_is_none(response_format):
    assert response_schema(chat(response_format=response_format)) is None


@pytest.mark.parametrize("text", [b"\\ud800", b"\xff"])
def test_text_that_is_no_unicode_is_refused_or_left_out(text):
    body = b'{"model":"a","messages":[{"role":"user","content":"' + text + b'"}]}'
    try:
        request = parse_chat(body)
    except RequestError:
        return
    assert prompt_text(request) == ""
    assert features_of(request).task
