"""Failures on request, as clients meet them."""

import json
import time

import aiohttp
import openai
import pytest

from tests.support.simulated import (
    ask,
    client_of,
    collect,
    failing,
    raw,
)


async def test_status_fault_is_an_openai_error_with_retry_after() -> None:
    async with client_of() as client:
        with pytest.raises(openai.RateLimitError) as failed:
            await failing(client, "status=429,retry_after=1")
    assert failed.value.code == "rate_limit_exceeded"
    assert failed.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("fault", ["nothing", "reset"])
async def test_a_connection_can_end_without_a_byte(fault: str, is_stream: bool) -> None:
    async with client_of() as client:
        with pytest.raises(openai.APIConnectionError):
            await failing(client, fault, is_stream=is_stream)


async def test_html_and_empty_bodies() -> None:
    async with client_of() as client:
        with pytest.raises(openai.InternalServerError) as failed:
            await failing(client, "html,status=502")
        page = await raw(client, {"metadata": {"simulate": "html"}})
        nothing = await raw(client, {"metadata": {"simulate": "empty"}})
    assert failed.value.response.headers["content-type"] == "text/html"
    assert b"<html>" in page
    assert nothing == b""


@pytest.mark.parametrize("fault", ["cut=2", "cut_reset=2"])
async def test_a_cut_stream_has_its_chunks_and_no_end(fault: str) -> None:
    got = bytearray()
    async with client_of() as client:
        with pytest.raises(aiohttp.ClientError):
            await collect(client, {"stream": True, "metadata": {"simulate": fault}}, got)
    assert b"[DONE]" not in got
    assert b'finish_reason":"stop' not in got
    if fault == "cut=2":  # after a reset what was sent may be lost
        assert got.count(b'"content":"') == 3


async def test_a_cut_body_is_shorter_than_its_length() -> None:
    async with client_of() as client:
        with pytest.raises(openai.APIConnectionError):
            await failing(client, "cut=1")


async def test_ends_without_finish_or_done() -> None:
    async with client_of() as client:
        no_finish = await raw(client, {"stream": True, "metadata": {"simulate": "no_finish"}})
        no_done = await raw(client, {"stream": True, "metadata": {"simulate": "no_done"}})
        half = await raw(client, {"stream": True, "metadata": {"simulate": "half_event"}})
    assert b'"finish_reason":"stop"' not in no_finish
    assert b'"finish_reason":"stop"' in no_done
    assert b"[DONE]" not in no_finish + no_done + half
    assert not half.endswith(b"\n\n")


async def test_an_error_can_be_the_first_event_and_a_chunk_no_json() -> None:
    async with client_of() as client:
        with pytest.raises(openai.APIError):
            await failing(client, "error_event", is_stream=True)
        with pytest.raises(json.JSONDecodeError):
            await failing(client, "bad_json", is_stream=True)


async def test_slow_and_stall_are_real_time_even_for_instant_profiles() -> None:
    async with client_of() as client:
        started = time.monotonic()
        await raw(client, {"metadata": {"simulate": "slow=120"}})
        slow_s = time.monotonic() - started
        await raw(client, {"stream": True, "metadata": {"simulate": "stall=0.12,after=2"}})
        both_s = time.monotonic() - started
    assert slow_s >= 0.12
    assert both_s - slow_s >= 0.12


async def test_an_unknown_fault_is_refused() -> None:
    async with client_of() as client:
        with pytest.raises(openai.BadRequestError, match="explode"):
            await failing(client, "explode")


async def test_a_profiles_faults_hit_the_given_share() -> None:
    profile = "{speed: instant, faults: [status=500], fault_rate: 30%}"
    failed = 0
    async with client_of(profile) as client:
        for i in range(100):
            try:
                await ask(client, f"{i}?")
            except openai.InternalServerError:
                failed += 1
    assert 14 <= failed <= 47  # binomial(100, 0.3)
