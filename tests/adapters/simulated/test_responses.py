"""Simulated backends speak the Responses API: whole, streamed, with tools, cut at a limit."""

import pytest

from tests.support.simulated import client_of

INPUT = "How many points has the yard at Crewe?"


async def test_a_response_has_output_and_usage() -> None:
    async with client_of() as client:
        answer = await client.responses.create(model="m", input=INPUT, instructions="Be brief.")
    assert answer.id.startswith("resp_")
    assert answer.status == "completed"
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0


async def test_a_stream_is_numbered_and_ends_with_the_whole_response() -> None:
    async with client_of() as client:
        items = [{"role": "user", "content": [{"type": "input_text", "text": INPUT}]}]
        stream = await client.responses.create(model="m", input=items, stream=True)
        events = [event async for event in stream]
        whole = await client.responses.create(model="m", input=INPUT)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == whole.output_text
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text


async def test_a_limit_leaves_the_response_incomplete() -> None:
    async with client_of() as client:
        answer = await client.responses.create(model="m", input=INPUT, max_output_tokens=3)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_tool_that_must_be_called_is_called(is_stream: bool) -> None:
    tool = {"type": "function", "name": "count", "parameters": {"type": "object"}, "strict": False}
    async with client_of() as client:
        answer = await client.responses.create(
            model="m", input=INPUT, tools=[tool], tool_choice="required", stream=is_stream
        )
        if is_stream:
            events = [event async for event in answer]
            assert any(event.type == "response.function_call_arguments.done" for event in events)
            answer = events[-1].response
    (call,) = answer.output
    assert (call.type, call.name) == ("function_call", "count")


async def test_an_answer_that_fits_a_schema() -> None:
    schema = {"type": "object", "properties": {"points": {"const": 5}}}
    form = {"type": "json_schema", "name": "a", "schema": schema}
    async with client_of() as client:
        answer = await client.responses.create(model="m", input=INPUT, text={"format": form})
    assert answer.output_text == '{"points":5}'


async def test_an_error_can_be_the_first_event() -> None:
    async with client_of() as client:
        stream = await client.responses.create(
            model="m", input=INPUT, stream=True, metadata={"simulate": "error_event"}
        )
        events = [event async for event in stream]
    assert [event.type for event in events] == ["error"]
