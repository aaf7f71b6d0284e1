"""What a simulated backend remembers: its responses by id."""

import openai
import pytest

from tests.support.simulated import client_of


async def test_a_response_is_found_by_its_id_until_it_is_deleted() -> None:
    async with client_of() as client:
        made = await client.responses.create(model="m", input="one")
        found = await client.responses.retrieve(made.id)
        assert found.output_text == made.output_text
        items = await client.responses.input_items.list(made.id)
        assert items.data[0].content[0].text == "one"
        assert (await client.responses.cancel(made.id)).id == made.id
        await client.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(made.id)


async def test_a_streamed_response_is_kept_too() -> None:
    async with client_of() as client:
        stream = await client.responses.create(model="m", input="one", stream=True)
        events = [event async for event in stream]
        assert (await client.responses.retrieve(events[-1].response.id)).status == "completed"


async def test_only_a_kept_response_can_be_gone_on_from() -> None:
    async with client_of() as client:
        made = await client.responses.create(model="m", input="one")
        second = await client.responses.create(model="m", input="two", previous_response_id=made.id)
        assert second.previous_response_id == made.id
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="m", input="three", previous_response_id="resp_x")
    assert refused.value.code == "previous_response_not_found"


async def test_other_calls_of_a_response_are_not_found() -> None:
    async with client_of() as client:
        made = await client.responses.create(model="m", input="one")
        with pytest.raises(openai.NotFoundError):
            await client.get(f"/responses/{made.id}/nothing", cast_to=object)
