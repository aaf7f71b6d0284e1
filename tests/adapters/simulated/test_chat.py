"""The shapes of answers, as the official client reads them."""

import json

import openai
import pytest

from tests.support.simulated import (
    ASK,
    client_of,
    data_lines,
)


async def test_answers_in_the_shape_of_a_chat_completion() -> None:
    async with client_of() as client:
        answer = await client.chat.completions.create(model="m", messages=ASK)
    choice = answer.choices[0]
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.system_fingerprint
    assert choice.message.role == "assistant"
    assert "Crewe" in (choice.message.content or "")
    assert choice.finish_reason == "stop"
    assert choice.logprobs is None
    usage = answer.usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 0
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 0


async def test_says_in_a_header_that_it_is_simulated() -> None:
    async with client_of() as client:
        raw = await client.chat.completions.with_raw_response.create(model="m", messages=ASK)
        with pytest.raises(openai.InternalServerError) as failed:
            await client.chat.completions.create(
                model="m", messages=ASK, metadata={"simulate": "status=503"}
            )
    assert raw.headers["x-pointsman-simulated"] == "true"
    assert failed.value.response.headers["x-pointsman-simulated"] == "true"


async def test_a_stream_adds_up_to_the_answer_without_one() -> None:
    async with client_of() as client:
        whole = await client.chat.completions.create(model="m", messages=ASK)
        stream = await client.chat.completions.create(
            model="m", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert finishes[-1] == "stop"
    assert set(finishes[:-1]) == {None}
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1


async def test_without_include_usage_no_chunk_speaks_of_usage() -> None:
    async with client_of() as client:
        lines = [line async for line in data_lines(client, {"stream": True})]
    assert lines[-1] == "[DONE]"
    assert all("usage" not in json.loads(line) for line in lines[:-1])


async def test_with_include_usage_every_chunk_has_a_null_usage_but_the_last() -> None:
    body = {"stream": True, "stream_options": {"include_usage": True}}
    async with client_of() as client:
        lines = [line async for line in data_lines(client, body)]
    events = [json.loads(line) for line in lines[:-1]]
    assert all(event["usage"] is None for event in events[:-1])
    assert events[-1]["usage"]["total_tokens"] > 0


async def test_gives_as_many_choices_as_asked_for() -> None:
    async with client_of() as client:
        whole = await client.chat.completions.create(model="m", messages=ASK, n=3)
        stream = await client.chat.completions.create(model="m", messages=ASK, n=2, stream=True)
        seen = {choice.index async for chunk in stream for choice in chunk.choices}
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert seen == {0, 1}


async def test_gives_logprobs_of_every_token_when_asked() -> None:
    async with client_of() as client:
        answer = await client.chat.completions.create(
            model="m", messages=ASK, logprobs=True, top_logprobs=2
        )
        stream = await client.chat.completions.create(
            model="m", messages=ASK, logprobs=True, stream=True
        )
        streamed = [
            token.logprob
            async for chunk in stream
            for choice in chunk.choices
            if choice.logprobs
            for token in choice.logprobs.content or ()
        ]
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    tokens = logprobs.content or []
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content
    assert all(token.logprob < 0 for token in tokens)
    assert all(len(token.top_logprobs) == 2 for token in tokens)
    assert bytes(tokens[0].bytes or []).decode() == tokens[0].token
    assert len(streamed) == len(tokens)


async def test_a_forced_tool_is_called_with_arguments_of_its_schema() -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "set_points",
            "parameters": {
                "type": "object",
                "properties": {"number": {"type": "integer"}, "to": {"enum": ["left", "right"]}},
                "required": ["number", "to"],
            },
        },
    }
    async with client_of() as client:
        answer = await client.chat.completions.create(
            model="m", messages=ASK, tools=[tool], tool_choice="required"
        )
        stream = await client.chat.completions.create(
            model="m", messages=ASK, tools=[tool], tool_choice="required", stream=True
        )
        deltas = [
            call
            async for chunk in stream
            for choice in chunk.choices
            for call in choice.delta.tool_calls or ()
        ]
    calls = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert calls is not None
    assert calls[0].function.name == "set_points"
    arguments = json.loads(calls[0].function.arguments)
    assert isinstance(arguments["number"], int)
    assert arguments["to"] in ("left", "right")
    assert deltas[0].function.name == "set_points"
    assert json.loads("".join(delta.function.arguments for delta in deltas)) == arguments


async def test_json_is_answered_where_json_is_asked_for() -> None:
    schema = {
        "type": "object",
        "properties": {"payoff_amount": {"type": "number", "minimum": 0}},
        "required": ["payoff_amount"],
        "additionalProperties": False,
    }
    async with client_of() as client:
        answer = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "Payoff 1,250.10 as of today"}],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "payoff", "schema": schema},
            },
        )
        any_object = await client.chat.completions.create(
            model="m", messages=ASK, response_format={"type": "json_object"}
        )
    assert json.loads(answer.choices[0].message.content or "") == {"payoff_amount": 1250.1}
    assert isinstance(json.loads(any_object.choices[0].message.content or ""), dict)


async def test_lists_its_model() -> None:
    async with client_of() as client:
        models = [model.id async for model in client.models.list()]
    assert models == ["m"]


async def test_refuses_what_the_real_api_refuses() -> None:
    async with client_of() as client:
        create = client.chat.completions.create
        with pytest.raises(openai.NotFoundError) as unknown:
            await create(model="other", messages=ASK)
        with pytest.raises(openai.BadRequestError) as empty:
            await create(model="m", messages=[])
        with pytest.raises(openai.BadRequestError) as too_few:
            await create(model="m", messages=ASK, max_tokens=0)
    assert unknown.value.code == "model_not_found"
    assert (empty.value.code, empty.value.param) == ("empty_array", "messages")
    assert (too_few.value.code, too_few.value.param) == ("integer_below_min_value", "max_tokens")
