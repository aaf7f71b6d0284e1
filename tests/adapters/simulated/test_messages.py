"""Simulated backends speak Anthropic's Messages API."""

import json
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI

from adapters.messages_reader import MessagesReader
from tests.support.simulated import client_of

SAID: dict[str, Any] = {
    "model": "m",
    "max_tokens": 100,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "How many points has the yard at Crewe?"}],
}


async def say(
    client: AsyncOpenAI, extra: dict[str, Any], path: str = "messages"
) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{client.base_url}{path}", json=SAID | extra) as response,
    ):
        return response.status, await response.read()


async def test_a_message_has_text_and_usage() -> None:
    async with client_of() as client:
        status, body = await say(client, {})
    message = json.loads(body)
    assert (status, message["type"], message["role"]) == (200, "message", "assistant")
    assert message["content"][0]["text"]
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["output_tokens"] > 0


async def test_a_stream_gives_the_same_message() -> None:
    async with client_of() as client:
        _, events = await say(client, {"stream": True})
        _, body = await say(client, {})
    streamed, whole = MessagesReader(), MessagesReader()
    streamed.read_events(events)
    assert whole.read_whole(body)
    assert streamed.is_complete
    assert not streamed.is_unparsed
    assert (streamed.text, streamed.usage) == (whole.text, whole.usage)
    assert streamed.finish_reason == whole.finish_reason == "stop"


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_tool_that_must_be_called_is_called(is_stream: bool) -> None:
    tools = [{"name": "count", "input_schema": {"type": "object"}}]
    extra = {"tools": tools, "tool_choice": {"type": "tool", "name": "count"}, "stream": is_stream}
    async with client_of() as client:
        _, body = await say(client, extra)
    assert b'"tool_use"' in body
    assert b'"name":"count"' in body


async def test_a_limit_ends_a_message() -> None:
    async with client_of() as client:
        _, body = await say(client, {"max_tokens": 3})
    assert json.loads(body)["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("extra", "status", "named"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"model": "other"}, 404, "not_found_error"),
        ({"metadata": {"simulate": "status=529"}}, 529, "overloaded_error"),
        ({"metadata": {"simulate": "status=500"}}, 500, "api_error"),
    ],
)
async def test_errors_have_anthropics_shape(extra: dict[str, Any], status: int, named: str) -> None:
    async with client_of() as client:
        answered, body = await say(client, extra)
    assert answered == status
    error = json.loads(body)
    assert (error["type"], error["error"]["type"]) == ("error", named)


async def test_faults_of_a_stream() -> None:
    async with client_of() as client:
        _, error = await say(client, {"stream": True, "metadata": {"simulate": "error_event"}})
        _, endless = await say(client, {"stream": True, "metadata": {"simulate": "no_done"}})
    assert error.startswith(b"event: error\n")
    assert b'"end_turn"' in endless
    assert b"message_stop" not in endless


async def test_tokens_are_counted_without_a_limit() -> None:
    async with client_of() as client:
        status, body = await say(client, {"max_tokens": None}, "messages/count_tokens")
        _, message = await say(client, {})
        refused, _ = await say(client, {"messages": []}, "messages/count_tokens")
    assert status == 200
    assert json.loads(body)["input_tokens"] == json.loads(message)["usage"]["input_tokens"]
    assert refused == 400
