"""Simulated embeddings follow from the text alone, in both encodings."""

import math

import openai
import pytest

from adapters.simulated.embeddings import DIMENSIONS
from tests.support.simulated import client_of


async def test_the_same_text_has_the_same_vector_and_another_has_another() -> None:
    async with client_of() as client:
        one = await client.embeddings.create(model="m", input=["a", "b", "a"])
        plain = await client.embeddings.create(model="m", input="a", encoding_format="float")
    first, second, third = (entry.embedding for entry in one.data)
    assert first == third != second
    assert len(first) == DIMENSIONS
    assert math.hypot(*plain.data[0].embedding) == pytest.approx(1)
    assert first == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert one.usage.prompt_tokens == 3


async def test_dimensions_and_token_lists_are_taken() -> None:
    async with client_of() as client:
        answer = await client.embeddings.create(model="m", input=[[1, 2], [3]], dimensions=8)
        single = await client.embeddings.create(model="m", input=[1, 2], dimensions=8)
    assert [len(entry.embedding) for entry in answer.data] == [8, 8]
    assert single.data[0].embedding == answer.data[0].embedding


@pytest.mark.parametrize("wrong", [{"input": []}, {"input": "a", "dimensions": 0}])
async def test_what_cannot_be_embedded_is_refused(wrong: dict[str, object]) -> None:
    async with client_of() as client:
        with pytest.raises(openai.BadRequestError):
            await client.post("/embeddings", cast_to=object, body={"model": "m", **wrong})


async def test_embeddings_fail_on_request() -> None:
    async with client_of() as client:
        with pytest.raises(openai.RateLimitError):
            await client.embeddings.create(
                model="m", input="a", extra_body={"metadata": {"simulate": "status=429"}}
            )
