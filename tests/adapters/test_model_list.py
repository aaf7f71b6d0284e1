"""What a server says of its models, asked over real sockets."""

import datetime as dt

import pytest

from adapters.backend import Backend
from adapters.model_list import ModelsUnknown, ask_shutdown_dates, shutdown_dates
from pointsman.secret import Secret
from tests.support.scripted import Script, ScriptedUpstream, request, response, until_closed

LIST = (
    b'{"object":"list","data":[{"id":"old","object":"model","shutdown_date":"2026-12-24"},'
    b'{"id":"new","shutdown_date":null},{"id":"plain"},{"id":"odd","shutdown_date":"soon"}]}'
)
ENDS = {"old": dt.date(2026, 12, 24)}


def backend(port: int, adapter: str = "openai") -> Backend:
    key = Secret("k-1", "env KEY")
    return Backend(name="b", adapter=adapter, model="old", host="127.0.0.1", port=port, api_key=key)


async def asked(script: Script, adapter: str = "openai") -> tuple[dict[str, dt.date], bytes]:
    with ScriptedUpstream(script) as upstream:
        return await ask_shutdown_dates(backend(upstream.port, adapter)), upstream.requests[0]


def test_only_announced_ends_are_read() -> None:
    assert shutdown_dates(LIST) == ENDS
    assert shutdown_dates(b'{"data":[]}') == {}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"data":5}', b"\xff"])
def test_what_is_no_list_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ModelsUnknown, match="cannot be read"):
        shutdown_dates(body)


@pytest.mark.parametrize(
    ("adapter", "line"),
    [
        ("openai", b"authorization: bearer k-1"),
        ("azure", b"api-key: k-1"),
        ("anthropic", b"x-api-key: k-1"),
    ],
)
async def test_the_list_is_asked_for_with_the_backends_own_credential(
    adapter: str, line: bytes
) -> None:
    ends, sent = await asked([request, response(LIST), until_closed], adapter)
    assert ends == ENDS
    path = b"/openai/v1/models" if adapter == "azure" else b"/v1/models"
    assert sent.startswith(b"GET %b HTTP/1.1\r\n" % path)
    assert line in sent.lower().split(b"\r\n")


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "302 Found"])
async def test_an_error_is_no_list(status: str) -> None:
    with pytest.raises(ModelsUnknown, match=status[:3]):
        await asked([request, response(b"{}", "location: /", status=status), until_closed])


async def test_a_silent_or_absent_server_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.model_list.ANSWER_S_MAX", 0.05)
    with pytest.raises(ModelsUnknown, match="no answer"):
        await asked([request, until_closed])
    with pytest.raises(ModelsUnknown) as told:
        await ask_shutdown_dates(backend(1))
    assert "k-1" not in str(told.value)


async def test_a_list_without_end_is_not_read_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.model_list.BODY_BYTES_MAX", 50)
    with pytest.raises(ModelsUnknown, match="no end"):
        await asked([request, response(LIST), until_closed])
