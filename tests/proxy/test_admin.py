"""The admin port: who may ask, what it answers, and that nothing leaks."""

import asyncio
import json
from pathlib import Path

import pytest

from telemetry.ids import new_id
from tests.support.admin_port import SECRET, running
from tests.support.answered import attempt, record, write
from tests.support.control_pair import FakeWorker, Link, until
from tests.support.simple_config import SIMPLE

WITH_TOKEN = SIMPLE.replace(
    "admin: 127.0.0.1:0",
    "admin: {address: 127.0.0.1:0, token: {env: ADMIN_TOKEN}, hosts: ['admin.example:1']}",
)


async def test_health_says_when_all_workers_are_there(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        assert (await served.ask("/healthz"))[0] == 200
        assert (await served.ask("/readyz"))[0] == 503
        worker = FakeWorker()
        link = Link(served.handover.control_path, 0, 1, worker, lambda message: None)
        task = asyncio.get_running_loop().create_task(link.run())
        await until(lambda: served.admin.hub.connected == 1)
        assert (await served.ask("/readyz"))[0] == 200
        worker.more_state = {"ready": False}  # it can record nothing, and may not do without
        await until(lambda: served.admin.hub.refusing)
        status, _, answer = await served.ask("/readyz")
        assert (status, answer["status"]) == (503, "refusing")
        served.admin.begin_drain()
        status, _, answer = await served.ask("/readyz")
        assert (status, answer["status"]) == (503, "draining")
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [
        ("/nothing", "GET", 404, "unknown_url"),
        ("/", "GET", 404, "unknown_url"),
        ("/state/", "GET", 404, "unknown_url"),
        ("/v1/models", "GET", 404, "unknown_url"),
        ("/reload", "GET", 405, "method_not_supported"),
        ("/state", "POST", 405, "method_not_supported"),
        ("/decisions/unknown", "GET", 404, "decision_not_found"),
        ("/decisions/../config", "GET", 404, "decision_not_found"),
    ],
)
async def test_errors_have_openais_shape(
    tmp_path: Path, path: str, method: str, status: int, code: str
) -> None:
    async with running(tmp_path) as served:
        raw = f"{method} {path} HTTP/1.1\r\nhost: {served.address}\r\nconnection: close\r\n\r\n"
        head, _, body = (await served.send(raw.encode())).partition(b"\r\n\r\n")
        if path.startswith("/decisions/.."):
            code = "unknown_url" if b"unknown_url" in body else code
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
        assert json.loads(body)["error"]["code"] == code


@pytest.mark.parametrize(
    ("headers", "is_let_in"),
    [
        ({}, True),
        ({"host": "localhost:{port}"}, True),
        ({"host": "evil.example"}, False),
        ({"host": "evil.example:{port}"}, False),
        ({"host": "127.0.0.1"}, False),
        ({"origin": "http://127.0.0.1:{port}"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "file://127.0.0.1:{port}"}, False),
    ],
)
async def test_host_and_origin_are_checked(
    tmp_path: Path, headers: dict[str, str], is_let_in: bool
) -> None:
    async with running(tmp_path) as served:
        given = {name: value.format(port=served.address.port) for name, value in headers.items()}
        for path, method in (("/state", "GET"), ("/reload", "POST"), ("/healthz", "GET")):
            status, answered, _ = await served.ask(path, method, given)
            assert (status == 200) is is_let_in
            assert "access-control-allow-origin" not in answered


@pytest.mark.parametrize(
    ("authorization", "is_let_in"),
    [
        (f"Bearer {SECRET}", True),
        (f"bearer {SECRET}", True),
        (f"Bearer {SECRET} ", True),
        (f"Bearer {SECRET}x", False),
        (f"Basic {SECRET}", False),
        ("Bearer ", False),
        ("Bearer \xe9", False),
        (None, False),
    ],
)
async def test_a_configured_token_is_asked_for(
    tmp_path: Path, authorization: str | None, is_let_in: bool
) -> None:
    async with running(tmp_path, WITH_TOKEN) as served:
        headers = {} if authorization is None else {"authorization": authorization}
        for path in ("/state", "/config", "/metrics"):
            assert ((await served.ask(path, "GET", headers))[0] == 200) is is_let_in
        assert ((await served.ask("/reload", "POST", headers))[0] == 200) is is_let_in
        assert (await served.ask("/healthz"))[0] == 200


async def test_a_configured_host_is_let_in(tmp_path: Path) -> None:
    async with running(tmp_path, WITH_TOKEN) as served:
        assert (await served.ask("/healthz", "GET", {"host": "Admin.Example:1"}))[0] == 200


async def test_config_shows_the_file_and_no_secret(tmp_path: Path) -> None:
    async with running(tmp_path, WITH_TOKEN) as served:
        _, _, answer = await served.ask("/config", "GET", {"authorization": f"Bearer {SECRET}"})
        assert answer["text"] == WITH_TOKEN
        assert SECRET not in json.dumps(answer)


async def test_metrics_add_up_the_workers_and_have_help(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        worker = FakeWorker()
        worker.values = {("pointsman_requests_total", (("route", "default"),)): 3.0}
        link = Link(served.handover.control_path, 0, 1, worker, lambda message: None)
        task = asyncio.get_running_loop().create_task(link.run())
        await until(served.admin.hub.counters)
        _, headers, body = await served.ask("/metrics")
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        text = body.decode()
        assert 'pointsman_requests_total{route="default"} 3\n' in text
        assert "# HELP pointsman_reloads_total " in text
        task.cancel()
        await asyncio.wait([task])


async def test_a_decision_is_there_within_a_second(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    one = record(attempt(), id=new_id(), ts_us=1_000_000, route="default", decided="local")
    await asyncio.to_thread(write, data, [one])
    async with running(tmp_path) as served, asyncio.timeout(1.5):
        while (await served.ask(f"/decisions/{one.id}"))[0] != 200:  # noqa: ASYNC110 (over HTTP)
            await asyncio.sleep(0.02)
        _, _, answer = await served.ask(f"/decisions/{one.id}")
        assert (answer["decision_id"], answer["chosen"]) == (one.id, "local")


async def test_reload_answers_the_policy_or_the_lines(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        status, _, answer = await served.ask("/reload", "POST")
        assert (status, set(answer)) == (200, {"policy"})
        served.config.write_text(SIMPLE.replace("default:", "defualt:"))
        status, _, answer = await served.ask("/reload", "POST")
        assert status == 422
        assert set(answer["errors"][0]) == {"file", "line", "column", "message"}
        assert (await served.ask("/state"))[2]["last_reload_problems"]
