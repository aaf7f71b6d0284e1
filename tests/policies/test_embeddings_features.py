import json

from hypothesis import given
from hypothesis import strategies as st

from policies.asked import Features
from policies.embeddings_features import (
    parse_embeddings,
    prompt_text,
    read_features,
    response_schema,
)
from tests.policies.test_features import JSON


def features_of(**fields: object) -> Features:
    body = json.dumps({"model": "m", **fields}).encode()
    return read_features(
        parse_embeddings(body),
        body_bytes=len(body),
        label_headers={"team": "a"},
        conversation_header=None,
        caller=None,
    )


def test_reads_the_envelope() -> None:
    features = features_of(input=["a", "b"], user="u", encoding_format="base64")
    assert (features.model, features.user, features.labels) == ("m", "u", {"team": "a"})
    assert features.prompt_bytes == len('["a", "b"]')
    assert not features.is_stream


def test_all_requests_for_vectors_are_one_task_unless_a_label_names_another() -> None:
    assert features_of(input="a").task == features_of(input="b").task
    assert features_of(input="a", metadata={"task": "index"}).task == "index"


@given(st.dictionaries(st.sampled_from(("input", "user", "metadata", "dimensions")), JSON))
def test_every_other_field_may_be_of_any_type(fields: dict[str, object]) -> None:
    assert features_of(**fields).choices == 1
    request = parse_embeddings(json.dumps({"model": "m", **fields}).encode())
    assert prompt_text(request) == ""
    assert response_schema(request) is None
