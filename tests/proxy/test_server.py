"""The data plane as clients meet it: the official client, keys, limits, draining."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from policies.learned import Learned
from policies.lock import Lock, RouteLock, route_digest, write_lock
from proxy import deciding, server
from proxy.heads import RequestHead
from proxy.keys import create_key, revoke_key
from proxy.locked import with_lock
from tests.support.plane import (
    ASKED,
    STREAMED,
    Plane,
    ask,
    config,
    one_backend,
    whole_answer,
)
from tests.support.raw_client import Answer, get, post
from tests.support.scripted import ScriptedUpstream, request, stall, until_closed

SIMULATED = config(
    "  default: {candidates: [quick]}",
    quick="adapter: simulated, profile: {like: gpt-4, speed: instant}",
)
MESSAGES: Any = [{"role": "user", "content": "How many points has the yard at Crewe?"}]
NOW = datetime(2026, 11, 1, tzinfo=UTC)


# -- the official client --------------------------------------------------------------------------


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    with Plane(tmp_path, SIMULATED) as running:
        yield running


@pytest.fixture
def client(plane: Plane) -> Iterator[OpenAI]:
    with plane.openai() as found:
        yield found


def test_answers_the_official_client(plane: Plane, client: OpenAI) -> None:
    answer = client.chat.completions.create(model="auto", messages=MESSAGES)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    record = plane.only_record().record
    assert (record.usage.prompt, record.usage.completion) == (
        answer.usage.prompt_tokens, answer.usage.completion_tokens,
    )  # fmt: skip
    assert record.is_simulated


def test_shows_the_official_client_its_headers(plane: Plane, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)
    kept = plane.only_record()
    assert raw.headers["x-pointsman-decision-id"] == kept.record.id
    assert raw.headers["x-pointsman-backend"] == "quick"
    assert raw.headers["x-pointsman-simulated"] == "true"
    assert float(raw.headers["x-pointsman-cost-usd"]) == pytest.approx(kept.record.cost_usd)
    assert raw.request_id == raw.headers["x-request-id"]
    assert sha256(raw.content).digest() == kept.response_sha256
    assert raw.parse().choices[0].finish_reason == "stop"


@pytest.mark.parametrize("include_usage", [None, True, False])
def test_streams_to_the_official_client(
    plane: Plane, client: OpenAI, include_usage: bool | None
) -> None:
    options: Any = {} if include_usage is None else {"include_usage": include_usage}
    extra: Any = {} if include_usage is None else {"stream_options": options}
    stream = client.chat.completions.create(model="auto", messages=MESSAGES, stream=True, **extra)
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(usages) == (1 if include_usage else 0)
    if not include_usage:
        assert all(chunk.choices for chunk in chunks)
    kept = plane.only_record()
    assert kept.ended == ("ok", True, 200, None)
    assert kept.record.usage.completion


def test_streams_raw_to_the_official_client(plane: Plane, client: OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(
        model="auto", messages=MESSAGES, stream=True
    ) as raw:
        body = raw.read()
        assert raw.headers["x-pointsman-route"] == "default"
    assert plane.only_record().response == body


def test_answers_the_asynchronous_client_many_times_at_once(plane: Plane) -> None:
    async def run() -> list[str]:
        url = f"http://127.0.0.1:{plane.port}/v1"
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(one(client, number) for number in range(20)))

    async def one(client: AsyncOpenAI, number: int) -> str:
        if number % 2:
            stream = await client.chat.completions.create(
                model="auto", messages=MESSAGES, stream=True
            )
            return "".join([c.choices[0].delta.content or "" async for c in stream])
        answer = await client.chat.completions.create(model="auto", messages=MESSAGES)
        return answer.choices[0].message.content or ""

    assert all(asyncio.run(run()))
    kept = plane.wait_for_records(20)
    assert {one.record.status for one in kept} == {"ok"}
    assert len({one.record.id for one in kept}) == 20


def test_gives_the_official_client_tools_and_formats(plane: Plane, client: OpenAI) -> None:
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    called = client.chat.completions.create(
        model="auto", messages=MESSAGES, tools=[tool], tool_choice="required"
    )
    assert called.choices[0].message.tool_calls
    several = client.chat.completions.create(
        model="auto", messages=MESSAGES, n=3, logprobs=True, top_logprobs=2
    )
    assert len(several.choices) == 3
    assert several.choices[0].logprobs is not None


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        ("status=400", openai.BadRequestError, 400),
        ("status=401", openai.InternalServerError, 502),
        ("status=403", openai.PermissionDeniedError, 403),
        ("status=404", openai.NotFoundError, 404),
        ("status=422", openai.UnprocessableEntityError, 422),
        ("status=429,retry_after=600", openai.RateLimitError, 429),
        ("status=500", openai.InternalServerError, 500),
        ("html", openai.InternalServerError, 502),
        ("html,status=502", openai.InternalServerError, 502),
        ("empty", openai.InternalServerError, 502),
        ("nothing", openai.InternalServerError, 502),
        ("reset", openai.InternalServerError, 502),
        ("cut=2", openai.InternalServerError, 502),
        ("bad_json", openai.InternalServerError, 502),
        ("error_event", openai.InternalServerError, 502),
    ],
)
def test_fails_the_official_client_in_its_own_terms(
    plane: Plane, fault: str, error: type[openai.APIStatusError], status: int
) -> None:
    """The client's own retries end at once: ours are used up, and say so."""
    with plane.openai(max_retries=2) as client, pytest.raises(error) as caught:
        client.chat.completions.create(
            model="auto", messages=MESSAGES, metadata={"simulate": fault}, timeout=10
        )
    assert caught.value.status_code == status
    kept = plane.records()
    if status not in (429, 500):
        assert len(kept) == 1
    assert {one.record.complete for one in kept} == {False}


@pytest.mark.parametrize("fault", ["cut=3", "cut_reset=3", "no_finish", "half_event"])
def test_a_stream_cut_short_is_an_error_to_the_official_client(
    plane: Plane, client: OpenAI, fault: str
) -> None:
    stream = client.chat.completions.create(
        model="auto", messages=MESSAGES, stream=True, metadata={"simulate": fault}
    )
    with pytest.raises(openai.APIError) as caught:
        for _ in stream:
            pass
    assert caught.value.code == "upstream_cut"
    kept = plane.only_record()
    assert (kept.record.status, kept.record.complete) == ("upstream_cut", False)


def test_a_stream_without_done_is_whole_to_the_official_client(
    plane: Plane, client: OpenAI
) -> None:
    stream = client.chat.completions.create(
        model="auto", messages=MESSAGES, stream=True, metadata={"simulate": "no_done"}
    )
    assert list(stream)[-1].choices[0].finish_reason == "stop"
    assert plane.only_record().record.complete


def test_an_unknown_model_is_not_found_by_the_official_client(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nothing", messages=MESSAGES)
    assert (caught.value.code, caught.value.param) == ("model_not_found", None)
    assert caught.value.request_id


def test_what_the_official_client_closes_is_gone(plane: Plane, client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="auto", messages=MESSAGES, stream=True, metadata={"simulate": "stall=30,after=2"}
    )
    next(iter(stream))
    stream.close()
    assert plane.only_record().record.status == "client_gone"


# -- keys -----------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Plane, ScriptedUpstream, str]]:
    _, secret = create_key(tmp_path / "keys.yaml", caller="billing", now=NOW)
    with ScriptedUpstream([request, whole_answer()] * 20) as up:
        text = one_backend(up.base_url, top="keys: {file: keys.yaml}")
        with Plane(tmp_path, text) as running:
            yield running, up, secret


def with_key(plane: Plane, *headers: str) -> Answer:
    return ask(plane, ASKED, *headers)


def test_a_key_names_its_caller_in_the_record(guarded: tuple[Plane, Any, str]) -> None:
    plane, _, secret = guarded
    assert with_key(plane, f"Authorization: Bearer {secret}").status == 200
    assert with_key(plane, f"authorization: bearer {secret}").status == 200
    assert [one.record.caller for one in plane.wait_for_records(2)] == ["billing", "billing"]
    journal = b"".join(path.read_bytes() for path in (plane.directory / "data/journal").iterdir())
    assert secret.encode() not in journal


def test_without_a_right_key_nobody_enters(guarded: tuple[Plane, ScriptedUpstream, str]) -> None:
    plane, up, secret = guarded
    wrong = [
        [], ["Authorization: Bearer"], ["Authorization: Bearer "], [f"Authorization: {secret}"],
        [f"Authorization: Basic {secret}"], [f"Authorization: Bearer {secret[:20]}"],
        [f"Authorization: Bearer {secret[:-1]}"], [f"Authorization: Bearer {secret}x"],
        [f"Authorization: Bearer {secret.swapcase()}"], [f"Authorization: Bearer  {secret}"],
        [f"Authorization: Bearer {secret} x"], [f"api-key: {secret}"],
        [f"Authorization: Bearer {'x' * 5000}"], ["Authorization: Bearer \xff\xfe"],
        ["Authorization: Bearer wrong", f"Authorization: Bearer {secret}"],
    ]  # fmt: skip
    for headers in wrong:
        answer = with_key(plane, *headers)
        assert answer.code == (401, "invalid_request_error", "invalid_api_key"), headers
        assert answer.error["param"] is None
    assert plane.records() == []
    assert up.connections == []
    assert plane.count("unrecorded_total", code="invalid_api_key") == len(wrong)


@pytest.mark.parametrize("script", [get("/v1/models"), get("/none"), post(b"{", path="/v1/none")])
def test_the_key_comes_first(guarded: tuple[Plane, Any, str], script: bytes) -> None:
    with guarded[0].client() as client:
        assert client.send(script).read().status == 401
        assert client.send(get("/healthz")).read().status == 200
        assert client.send(get("/readyz")).read().status == 200


def test_a_wrong_key_keeps_no_body(guarded: tuple[Plane, Any, str]) -> None:
    plane = guarded[0]
    with plane.client() as client:
        client.send(post(b"x" * 1_000_000)[:500_000])
        plane.wait_until(lambda: plane.data_plane._clients)
        (connection,) = plane.data_plane._clients
        plane.wait_until(lambda: connection._reader.body_bytes > 400_000)
        assert connection._reader._body == []


def test_a_framing_error_is_told_without_a_key(guarded: tuple[Plane, Any, str]) -> None:
    with guarded[0].client() as client:
        assert client.send(b"NONSENSE\r\n\r\n").read().status == 400


def test_a_revoked_key_is_out_though_its_head_is_remembered(
    guarded: tuple[Plane, ScriptedUpstream, str],
) -> None:
    plane, up, secret = guarded
    file = plane.directory / "keys.yaml"
    with plane.client() as client:
        for _ in range(3):
            assert client.ask(ASKED, f"Authorization: Bearer {secret}").status == 200
        key_id = file.read_text().split("id: ")[1].split(",")[0]
        revoke_key(file, key_id)
        create_key(file, caller="other", now=NOW)
        plane.reconfigure(one_backend(up.base_url, top="keys: {file: keys.yaml}"))
        assert client.ask(ASKED, f"Authorization: Bearer {secret}").status == 401


def test_one_callers_head_is_not_anothers(guarded: tuple[Plane, ScriptedUpstream, str]) -> None:
    plane, up, first = guarded
    _, second = create_key(plane.directory / "keys.yaml", caller="other", now=NOW)
    plane.reconfigure(one_backend(up.base_url, top="keys: {file: keys.yaml}"))
    with plane.client() as client:
        for secret in (first, second, first, second):
            assert client.ask(ASKED, f"Authorization: Bearer {secret}").status == 200
    callers = [one.record.caller for one in plane.wait_for_records(4)]
    assert callers == ["billing", "other", "billing", "other"]


def test_what_passes_through_asks_for_the_key_before_the_body(
    guarded: tuple[Plane, ScriptedUpstream, str],
) -> None:
    plane, up, secret = guarded
    rules = 'passthrough: [{path: "/v1/files*", backend: a}]'
    plane.reconfigure(one_backend(up.base_url, top=f"keys: {{file: keys.yaml}}\n{rules}"))
    head = "POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n"
    with plane.client() as client:
        client.send((head.format(200 << 20) + "\r\n").encode())
        assert client.read().code[::2] == (401, "invalid_api_key")
        assert client.is_closed()
    key = f"Authorization: Bearer {secret}\r\n\r\nabc"
    with plane.client() as client:
        assert client.send((head.format(3) + key).encode()).read().status == 200
    record = plane.only_record().record
    assert (record.api, record.caller) == ("passthrough", "billing")


# -- limits, defects, draining --------------------------------------------------------------------


@pytest.mark.timed
def test_more_than_it_may_hold_is_told_to_come_back(tmp_path: Path) -> None:
    script = [request, stall(0.3), whole_answer()] * 2
    with ScriptedUpstream(script) as up:
        text = one_backend(up.base_url, top="limits: {in_flight: 2}")
        with Plane(tmp_path, text) as plane:
            clients = [plane.client() for _ in range(2)]
            for one in clients:
                one.send(post(ASKED))
            plane.wait_until(lambda: len(up.requests) == 2)
            started_s = time.monotonic()
            answer = ask(plane)
            assert time.monotonic() - started_s < 0.2
            assert answer.code == (503, "server_error", "overloaded")
            assert int(answer.header("retry-after") or 0) >= 1
            for one in clients:
                assert one.read().status == 200
                one.close()
            assert ask(plane).status == 200
            kept = plane.wait_for_records(4)
            statuses = sorted(one.record.status for one in kept)
            assert statuses == ["ok", "ok", "ok", "refused"]


def test_a_defect_of_ours_costs_one_request_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*sent: object, **named: object) -> None:
        raise ZeroDivisionError("secret words")

    with (
        ScriptedUpstream([request, whole_answer()] * 2) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as client,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(deciding, "decide", fails)
            answer = client.ask(ASKED)
        assert answer.code == (500, "server_error", "internal_error")
        assert client.ask(ASKED).status == 200
        first, second = plane.wait_for_records(2)
        assert first.ended == ("error", False, 500, "internal_error")
        assert second.record.status == "ok"
        assert plane.count("in_flight") == 0
    logged = capsys.readouterr().err
    assert "request_crashed" in logged
    assert "ZeroDivisionError" in logged
    assert "secret" not in logged + answer.body.decode()


def test_draining_ends_what_is_under_way_and_lets_go_of_the_rest(tmp_path: Path) -> None:
    script = [request, whole_answer(), request, stall(1.0), whole_answer(), until_closed]
    with (
        ScriptedUpstream(script) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as idle,
        plane.client() as busy,
    ):
        assert idle.ask(ASKED).status == 200
        busy.send(post(ASKED))
        plane.wait_until(lambda: len(up.requests) == 2)
        plane.call(plane.data_plane.begin_drain)
        assert idle.is_closed(1.0)
        with pytest.raises(ConnectionRefusedError):
            plane.client()
        drained = asyncio.run_coroutine_threadsafe(plane.data_plane.drained(0.05), plane.loop)
        assert drained.result(2.0) is False
        answer = busy.read()
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert busy.is_closed()
        drained = asyncio.run_coroutine_threadsafe(plane.data_plane.drained(2.0), plane.loop)
        assert drained.result(3.0) is True


def test_a_request_on_its_way_when_the_drain_begins_is_answered(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, whole_answer(), request, whole_answer()]) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as client,
    ):
        assert client.ask(ASKED).status == 200
        plane.call(plane.data_plane.begin_drain)
        answer = client.ask(ASKED)
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert client.is_closed()


def test_closing_tells_backends_and_records(tmp_path: Path) -> None:
    with ScriptedUpstream([request, until_closed]) as up:
        with Plane(tmp_path, one_backend(up.base_url)) as plane, plane.client() as client:
            client.send(post(STREAMED))
            plane.wait_until(lambda: up.requests)
            plane.stop()
            assert client.is_closed()
        assert up.wait_until_finished().closed_how is not None
        assert plane.only_record().record.status == "client_gone"


def test_decides_by_what_it_was_told_was_learned(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, whole_answer()] * 2) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
    ):
        plane.call(lambda: plane.data_plane.learn(Learned()))
        assert ask(plane).status == 200


def test_tells_its_state(plane: Plane) -> None:
    state = plane.call(plane.data_plane.state)
    assert state["ready"] is True
    quick = {"state": "ready", "reason": None, "since": None, "until": None, "probes": {}}
    assert state["backends"] == {"quick": {"in_flight": 0, **quick}}
    assert repr(plane.data_plane) == "<DataPlane worker=0 in_flight=0>"


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer a", b"a"),
        (b"bearer a", b"a"),
        (b"Bearer  a", b" a"),
        (b"Basic a", b""),
        (b"Bearer", b""),
        (b"", b""),
    ],
)
def test_a_token_is_taken_byte_for_byte(value: bytes, token: bytes) -> None:
    head = RequestHead(
        b"GET", b"/", [(b"authorization", value)], is_http_10=False, keeps_alive=True
    )
    assert server.token_of(head) == token


# -- promises -------------------------------------------------------------------------------------

PROMISING = config(
    "  default: {candidates: [cheap], require: {error: {max: 9%, reference: sure}}}",
    cheap="adapter: simulated, profile: {like: local, speed: instant}",
    sure="adapter: simulated, profile: {like: gpt-4, speed: instant}",
)


def lock_of(plane: Plane, accept: float) -> RouteLock:
    written = plane.configuration.written
    digest = route_digest(written.default, written.backends)
    return RouteLock(accept, 0.09, 0.95, "sure", 200, 3, 0.04, digest, "labels")


def answered_by(plane: Plane) -> str | None:
    return ask(plane).header("x-pointsman-backend")


def test_a_certified_route_asks_who_is_cheap_until_it_is_suspended(tmp_path: Path) -> None:
    with Plane(tmp_path, PROMISING) as plane:
        assert answered_by(plane) == "sure"
        data_plane = plane.data_plane
        locked = with_lock(
            data_plane.wiring.configuration,
            write_lock(Lock({"default": lock_of(plane, 0.0)})).decode(),
        )
        plane.call(lambda: data_plane.configure(locked, None))
        assert answered_by(plane) == "cheap"
        plane.call(lambda: data_plane.suspend({"default": "broken after 40 labels"}))
        assert answered_by(plane) == "sure"
        record = plane.wait_for_records(3)[-1].record
        assert record.reason == (
            "no certified lock for error 9% (broken after 40 labels): reference sure"
        )
        plane.call(lambda: data_plane.configure(locked, None))
        assert answered_by(plane) == "sure"
        assert plane.call(data_plane.state)["promises"] == {
            "default": {"certified": False, "reason": "broken after 40 labels"}
        }
        plane.call(lambda: data_plane.suspend({}))
        assert answered_by(plane) == "cheap"
