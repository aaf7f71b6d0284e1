"""aiohttp's manners as corrected: no banner, no echo, JSON also for broken HTTP, a bound."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.admin_port import running

PATHS = ("/healthz", "/readyz", "/metrics", "/state", "/config", "/decisions/x")


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE<script>canary</script>\r\n\r\n",
        b"GET /canary HTTP/9.9\r\nhost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: canary\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03canary\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nbig: " + b"canary" * 3000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
    ],
)
async def test_broken_http_gets_json_without_banner_or_echo(tmp_path: Path, raw: bytes) -> None:
    async with running(tmp_path) as served:
        head, _, body = (await served.send(raw.replace(b"\r\n\r\n", b"\r\n\r\n", 1))).partition(
            b"\r\n\r\n"
        )
        assert head.startswith(b"HTTP/1.1 4")
        assert json.loads(body)["error"]["type"] == "invalid_request_error"
        lower = head.lower()
        assert b"x-request-id: req_" in lower
        assert b"\r\nserver:" not in lower
        assert b"canary" not in head + body


async def test_no_answer_names_the_server(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        for path in (*PATHS, "/nothing"):
            _, headers, _ = await served.ask(path)
            assert "server" not in headers
            assert headers["x-request-id"].startswith("req_")


async def test_a_fault_of_ours_is_json_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path) as served:
        fail: Callable[[], None] = lambda: 1 / 0  # type: ignore[assignment,return-value] # noqa: E731
        monkeypatch.setattr(served.admin.hub, "states", fail)
        status, _, answer = await served.ask("/state")
        assert (status, answer["error"]["code"]) == (500, "internal_error")
        assert "ZeroDivision" not in json.dumps(answer)
        assert "admin_failed" in capsys.readouterr().err


async def test_too_many_connections_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.admin_http.CONNECTIONS_MAX", 3)
    async with running(tmp_path) as served:
        name = (served.address.host, served.address.port)
        held = [socket.create_connection(name) for _ in range(3)]
        await asyncio.sleep(0.05)
        reader, writer = await asyncio.open_connection(*name)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        for connection in held:
            connection.close()
        await asyncio.sleep(0.05)
        assert (await served.ask("/healthz"))[0] == 200
