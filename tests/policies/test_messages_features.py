"""A request to Anthropic's Messages API as the decision sees it."""

import json
from typing import Any

import pytest

from policies.asked import Features
from policies.messages_features import (
    parse_messages,
    prompt_text,
    read_features,
    response_schema,
)
from policies.request import RequestError

ASKED: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": [{"type": "text", "text": "three"}]},
    ],
}


def features_of(body: dict[str, Any], **headers: str) -> Features:
    raw = json.dumps(body).encode()
    return read_features(
        parse_messages(raw),
        body_bytes=len(raw),
        label_headers=headers,
        conversation_header=None,
        caller=None,
    )


def test_the_envelope_becomes_features() -> None:
    features = features_of({**ASKED, "stream": True})
    assert (features.model, features.max_tokens, features.is_stream) == ("claude-x", 100, True)
    assert (features.choices, features.has_tools, features.has_images) == (1, False, False)
    parts = (json.dumps(ASKED["system"]), json.dumps(ASKED["messages"]))
    assert features.prompt_bytes == sum(map(len, parts))


def test_the_user_is_no_label_and_other_metadata_are() -> None:
    features = features_of({**ASKED, "metadata": {"user_id": "u-1", "Team": "a"}}, task="t")
    assert features.user == "u-1"
    assert features.labels == {"team": "a", "task": "t"}
    assert features.task == "t"


def test_the_system_prompt_tells_tasks_and_conversations_apart() -> None:
    one, other = features_of(ASKED), features_of({**ASKED, "system": "Be long."})
    assert one.task != other.task
    assert one.conversation != other.conversation
    assert one.conversation == features_of({**ASKED, "max_tokens": 5}).conversation


def test_tools_images_and_schemas_are_seen() -> None:
    image = {"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}
    tools = [{"name": "f", "input_schema": {}}]
    features = features_of({**ASKED, "messages": [image], "tools": tools})
    assert (features.has_tools, features.has_images) == (True, True)
    form = {"type": "json_schema", "schema": {"type": "object"}}
    for asked in ({"output_config": {"format": form}}, {"output_format": form}):
        request = parse_messages(json.dumps({**ASKED, **asked}).encode())
        assert response_schema(request) == {"type": "object"}
        assert features_of({**ASKED, **asked}).response_format == "json_schema"
    assert response_schema(parse_messages(json.dumps(ASKED).encode())) is None


def test_every_text_can_be_looked_through() -> None:
    assert prompt_text(parse_messages(json.dumps(ASKED).encode())) == "Be brief.\none\ntwo\nthree"
    assert prompt_text(parse_messages(b'{"model":"m","messages":5,"system":{}}')) == ""


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"model":5}', b'{"model":"m","stream":1}'])
def test_what_cannot_be_read_is_the_clients_fault(body: bytes) -> None:
    with pytest.raises(RequestError):
        parse_messages(body)
