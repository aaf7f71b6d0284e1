"""An upstream nobody here wrote answers the same through pointsman as it does direct."""

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conformance import environments, servers
from tests.conformance.outside import needs
from tests.support.served import Served

FIXTURES = environments.HERE / "aimock_fixtures"
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
WAIT_S = 30.0
FAILOVERS = 60

Body = Mapping[str, Any]
TOOL = {"name": "magic_function", "description": "Adds.", "parameters": {"type": "object"}}
CLAUDE_TOOL = {"name": "get_weather", "input_schema": {"type": "object"}}
WEATHER = {"type": "function", "function": {**TOOL, "name": "get_weather"}}


def said(text: str, **more: Any) -> Body:
    """A chat request."""
    return {"model": "gpt-4", "messages": [{"role": "user", "content": text}], **more}


def put_in(text: str | list[str], **more: Any) -> Body:
    """A responses or embeddings request."""
    return {"model": "gpt-4", "input": text, **more}


def messaged(text: str, **more: Any) -> Body:
    """A request in Anthropic's protocol."""
    return {**said(text, **more), "model": "claude", "max_tokens": 64}


USAGE = {"stream_options": {"include_usage": True}}
SAME: dict[str, tuple[str, Body]] = {
    "whole": (CHAT, said("hello")),
    "whole with usage of its own": (CHAT, said("counted")),
    "stream": (CHAT, said("hello", stream=True)),
    "stream with usage": (CHAT, said("counted", stream=True, **USAGE)),
    "tool": (CHAT, said("weather?", tools=[WEATHER])),
    "tool, streamed": (CHAT, said("weather?", tools=[WEATHER], stream=True)),
    "reasoning": (CHAT, said("think first")),
    "reasoning, streamed": (CHAT, said("think first", stream=True)),
    "JSON": (CHAT, said("a joke", response_format={"type": "json_object"})),
    "too long": (CHAT, said("too long")),
    "too long, streamed": (CHAT, said("too long", stream=True)),
    "too many": (CHAT, said("too many")),
    "response": (RESPONSES, put_in("hello")),
    "response, streamed": (RESPONSES, put_in("hello", stream=True)),
    "response with a tool": (RESPONSES, put_in("hi", tools=[{"type": "function", **TOOL}])),
    "embedding": ("/v1/embeddings", put_in(["hello", "there"])),
    "embedding, base64": ("/v1/embeddings", put_in("hello", encoding_format="base64")),
    "message": (MESSAGES, messaged("hello")),
    "message, streamed": (MESSAGES, messaged("hello", stream=True)),
    "message with a tool": (MESSAGES, messaged("weather?", tools=[CLAUDE_TOOL])),
    "message, too long": (MESSAGES, messaged("too long")),
}


class Got(NamedTuple):
    """An answer as a program sees it."""

    status: int
    content_type: str
    retry_after: str | None
    data: list[Any]
    """The JSON, or that of each event with its name; what differs by chance is left out."""


def ask(address: str, path: str, body: Body) -> Got:
    """One POST."""
    connection = http.client.HTTPConnection(address, timeout=WAIT_S)
    try:
        headers = {"content-type": "application/json", "authorization": "Bearer none"}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    type = answer.headers.get("content-type", "")
    data = events(content) if type.startswith("text/event-stream") else [steady(content)]
    return Got(answer.status, type, answer.headers.get("retry-after"), data)


def events(content: bytes) -> list[Any]:
    """Each event: its name where it has one, and its data."""
    return [
        (re.findall(rb"^event: (.*)$", one, re.MULTILINE), steady(one.partition(b"data: ")[2]))
        for one in content.split(b"\n\n")
        if one
    ]


def steady(content: bytes) -> Any:
    """JSON with ids and times blanked, which are by chance; anything else as it is."""
    try:
        return _blank(json.loads(content))
    except ValueError:
        return content


def _blank(value: Any) -> Any:
    if isinstance(value, dict):
        chance = ("id", "created", "created_at", "item_id", "call_id", "obfuscation")
        return {key: "?" if key in chance else _blank(inner) for key, inner in value.items()}
    return [_blank(inner) for inner in value] if isinstance(value, list) else value


@contextmanager
def in_front_of(directory: Path, *addresses: str) -> Iterator[Served]:
    """A pointsman whose backends are these, each behind the one before it."""
    names = "abc"[: len(addresses)]
    backends = "".join(
        f'  {name}: {{adapter: openai, base_url: "http://{address}/v1", model: gpt-4}}\n'
        for name, address in zip(names, addresses, strict=True)
    )
    backends += f'  claude: {{adapter: anthropic, base_url: "http://{addresses[0]}/v1"}}\n'
    route = f"match: {{model: 'gpt-*'}}, candidates: [a], on_failure: [{', '.join(names[1:])}]"
    text = f"backends:\n{backends}routes:\n  default: {{{route}}}\n"
    with servers.pointsman(directory / "served", text) as served:
        yield served


def chaotic(stack: ExitStack, directory: Path, *options: str) -> str:
    """One more aimock."""
    folder = directory / ("aimock" + "".join(options))
    folder.mkdir()
    return stack.enter_context(servers.aimock(folder, FIXTURES, *options))


def test_answers_are_the_same(tmp_path: Path) -> None:
    with needs(), ExitStack() as stack:
        address = chaotic(stack, tmp_path)
        served = stack.enter_context(in_front_of(tmp_path, address))
        both = {
            name: (ask(address, path, body), ask(served.listen, path, body))
            for name, (path, body) in SAME.items()
        }
    different = {name: pair for name, pair in both.items() if pair[0] != pair[1]}
    assert different == {}
    statuses = {name: direct.status for name, (direct, _) in both.items()}
    too_long = {name: 400 for name in SAME if "too long" in name}
    assert statuses == dict.fromkeys(SAME, 200) | too_long | {"too many": 429}


@pytest.mark.parametrize(
    ("chaos", "expected"),
    [
        ("--chaos-drop", (500, None)),
        ("--chaos-malformed", (502, "upstream_error")),
        ("--chaos-disconnect", (502, "upstream_error")),
        ("--chaos-ratelimit", (429, None)),
    ],
)
def test_chaos_alone_becomes_an_error_of_the_right_kind(
    chaos: str, expected: tuple[int, str | None], tmp_path: Path
) -> None:
    with needs(), ExitStack() as stack:
        address = chaotic(stack, tmp_path, chaos, "1")
        served = stack.enter_context(in_front_of(tmp_path, address))
        got = ask(served.listen, CHAT, said("hello"))
        status, code = expected
        assert got.status == status
        (data,) = got.data
        if code is None:
            direct = ask(address, CHAT, said("hello"))
            assert (got.data, got.retry_after) == (direct.data, direct.retry_after)
        else:
            assert data["error"]["code"] == code


def test_chaos_with_a_healthy_backend_behind_it_is_not_seen(tmp_path: Path) -> None:
    rates = ("--chaos-drop", "0.2", "--chaos-malformed", "0.2", "--chaos-disconnect", "0.2")
    with needs(), ExitStack() as stack:
        shaky = chaotic(stack, tmp_path, *rates)
        healthy = chaotic(stack, tmp_path)
        served = stack.enter_context(in_front_of(tmp_path, shaky, healthy))
        kinds = (said("hello"), said("hello", stream=True))
        got = [ask(served.listen, CHAT, kinds[n % 2]) for n in range(FAILOVERS)]
        wanted = [ask(healthy, CHAT, kind) for kind in kinds]
    assert got == [wanted[n % 2] for n in range(FAILOVERS)]
