import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.asked import Features
from policies.request import RequestError
from policies.responses_features import parse_response, prompt_text, read_features, response_schema
from tests.policies.test_features import JSON

FIELDS = (
    "input", "instructions", "tools", "metadata", "user", "max_output_tokens", "text",
    "previous_response_id",
)  # fmt: skip


def features_of(**fields: object) -> Features:
    body = json.dumps({"model": "m", **fields}).encode()
    return read_features(
        parse_response(body),
        body_bytes=len(body),
        label_headers={},
        conversation_header=None,
        caller=None,
    )


def message(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


def test_reads_the_envelope() -> None:
    features = features_of(
        input="hello",
        instructions="be brief",
        stream=True,
        max_output_tokens=9,
        metadata={"task": "greet"},
        tools=[{"type": "function", "name": "look_up"}],
        text={"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}},
        previous_response_id="resp_1",
    )
    assert (features.model, features.is_stream, features.task) == ("m", True, "greet")
    assert (features.max_tokens, features.has_tools) == (9, True)
    assert (features.response_format, features.choices) == ("json_schema", 1)
    assert features.previous_response_id == "resp_1"
    assert features.include_usage  # nothing has to be asked for


def test_the_model_may_be_left_to_others() -> None:
    assert parse_response(b"{}").model is None
    assert features_of(model=None).model is None
    with pytest.raises(RequestError, match="model"):
        parse_response(b'{"model":5}')


@pytest.mark.parametrize("previous", [None, "", 5, []])
def test_no_previous_response_without_a_name_of_one(previous: object) -> None:
    assert features_of(previous_response_id=previous).previous_response_id is None


def test_instructions_and_tools_make_the_task_first_words_the_talk() -> None:
    one = features_of(input="hello", instructions="a")
    assert features_of(input="bye", instructions="a").task == one.task
    assert features_of(input="hello", instructions="b").task != one.task
    assert features_of(input="bye", instructions="a").conversation != one.conversation
    listed = [message("developer", {"type": "input_text", "text": "a"}), message("user")]
    assert features_of(input=listed).task != features_of(input=listed[1:]).task


def test_sees_images() -> None:
    picture = message("user", {"type": "input_image", "image_url": "data:,"})
    words = message("user", {"type": "input_text", "text": 'an "input_image" here'})
    assert features_of(input=[picture]).has_images
    assert not features_of(input=[words]).has_images
    assert not features_of(input="input_image").has_images


def test_texts_and_schema_for_the_judge() -> None:
    schema = {"type": "object"}
    format = {"type": "json_schema", "schema": schema}
    body = {
        "instructions": "be brief",
        "input": [message("user", {"type": "input_text", "text": "pay 5"}), {"type": "reasoning"}],
        "text": {"format": format},
    }
    request = parse_response(json.dumps(body).encode())
    assert prompt_text(request) == "be brief\npay 5"
    assert response_schema(request) == schema
    assert prompt_text(parse_response(b'{"input":"pay 5"}')) == "pay 5"
    assert response_schema(parse_response(b'{"text":{"format":{"type":"text"}}}')) is None


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_every_other_field_may_be_of_any_type(fields: dict[str, object]) -> None:
    request = parse_response(json.dumps(fields).encode())
    assert features_of(**fields).choices == 1
    assert isinstance(prompt_text(request), str)
    response_schema(request)
