import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.embeddings import read_embeddings

ANSWER = b'{"model":"m","data":[{"embedding":"AAAA"}],"usage":{"prompt_tokens":3,"total_tokens":3}}'


def test_reads_usage_and_model_and_leaves_the_vectors_alone() -> None:
    found, is_typed = read_embeddings(ANSWER)
    assert found is not None
    assert found.usage is not None
    assert (is_typed, found.model, found.usage.prompt_tokens) == (True, "m", 3)


@pytest.mark.parametrize("odd", [b'{"model":5,"data":[],"usage":{"prompt_tokens":3}}'])
def test_salvages_what_is_of_its_type(odd: bytes) -> None:
    found, is_typed = read_embeddings(odd)
    assert found is not None
    assert found.usage is not None
    assert (is_typed, found.model, found.usage.prompt_tokens) == (False, None, 3)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    read_embeddings(body)
