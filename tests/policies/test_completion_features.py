import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.asked import Features
from policies.completion_features import (
    CHOICES_MAX,
    parse_completion,
    prompt_text,
    read_features,
    response_schema,
)
from policies.request import RequestError
from tests.policies.test_features import JSON


def features_of(**fields: object) -> Features:
    body = json.dumps({"model": "m", **fields}).encode()
    return read_features(
        parse_completion(body),
        body_bytes=len(body),
        label_headers={},
        conversation_header=None,
        caller=None,
    )


def test_reads_the_envelope() -> None:
    features = features_of(
        prompt="Once", max_tokens=5, stream=True, user="u", logprobs=2, metadata={"team": "a"}
    )
    assert (features.model, features.is_stream, features.user) == ("m", True, "u")
    assert (features.max_tokens, features.wants_logprobs) == (5, True)
    assert (features.labels, features.prompt_bytes) == ({"team": "a"}, len('"Once"'))
    assert not features.include_usage
    assert features_of(stream_options={"include_usage": True}).include_usage


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        ("one", 1),
        (["one"], 1),
        (["one", "two"], 2),
        ([1, 2, 3], 1),
        ([[1, 2], [3], [4]], 3),
        ([], 1),
        (None, 1),
        ({"odd": 1}, 1),
        (["x"] * (CHOICES_MAX + 1), CHOICES_MAX),
    ],
)
def test_every_prompt_has_its_choice(prompt: object, choices: int) -> None:
    assert features_of(prompt=prompt).choices == choices
    assert features_of(prompt=prompt, n=2).choices == 2 * choices


def test_texts_of_prompts_are_searched_and_tokens_are_not() -> None:
    def text(prompt: object) -> str:
        return prompt_text(parse_completion(json.dumps({"model": "m", "prompt": prompt}).encode()))

    assert text("one") == "one"
    assert text(["one", "two"]) == "one\ntwo"
    assert text([1, 2]) == text(None) == ""


@given(st.dictionaries(st.sampled_from(("prompt", "n", "max_tokens", "logprobs", "user")), JSON))
def test_every_other_field_may_be_of_any_type(fields: dict[str, object]) -> None:
    request = parse_completion(json.dumps({"model": "m", **fields}).encode())
    assert features_of(**fields).choices >= 1
    assert isinstance(prompt_text(request), str)
    assert response_schema(request) is None


def test_a_model_is_required() -> None:
    with pytest.raises(RequestError, match="model"):
        parse_completion(b'{"prompt":"x"}')
