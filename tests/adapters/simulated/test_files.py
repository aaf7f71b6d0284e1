"""A simulated backend takes files up in constant memory and gives their beginning back."""

import hashlib

import openai
import pytest

from adapters.simulated.files import FILES_MAX, KEPT_BYTES_MAX
from tests.support.simulated import client_of


async def test_a_file_is_described_given_back_and_deleted() -> None:
    async with client_of() as client:
        made = await client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch")
        assert (made.filename, made.purpose, made.bytes) == ("a.jsonl", "batch", 3)
        assert (await client.files.retrieve(made.id)).id == made.id
        assert (await client.files.content(made.id)).content == b"{}\n"
        assert [file.id for file in (await client.files.list()).data] == [made.id]
        assert (await client.files.delete(made.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(made.id)


async def test_only_the_beginning_of_a_long_file_is_kept_and_all_of_it_is_hashed() -> None:
    content = b"0123456789" * (KEPT_BYTES_MAX // 5)
    async with client_of() as client:
        made = await client.files.create(file=("a", content), purpose="batch")
        assert made.bytes == len(content)
        assert made.model_extra is not None
        assert made.model_extra["sha256"] == hashlib.sha256(content).hexdigest()
        kept = (await client.files.content(made.id)).content
    assert kept == content[:KEPT_BYTES_MAX]


async def test_the_oldest_file_is_forgotten_first() -> None:
    async with client_of() as client:
        first = await client.files.create(file=("a", b"1"), purpose="batch")
        for _ in range(FILES_MAX):
            await client.files.create(file=("b", b"2"), purpose="batch")
        assert len((await client.files.list()).data) == FILES_MAX
        with pytest.raises(openai.NotFoundError):
            await client.files.content(first.id)


async def test_an_upload_without_a_file_is_refused() -> None:
    async with client_of() as client:
        with pytest.raises(openai.BadRequestError):
            await client.post("/files", cast_to=object, body={"purpose": "batch"})
