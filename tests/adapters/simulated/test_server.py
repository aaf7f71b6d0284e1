"""The simulated server as the official client sees it."""

import asyncio
import json
import math
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from adapters.simulated.server import Simulator, serve_simulated
from tests.support.simulated import backends_from, playing, running

INSTANT = "{speed: instant}"
ASK = [{"role": "user", "content": "How many points has the yard at Crewe?"}]


@asynccontextmanager
async def client_of(
    profile: str = INSTANT, *, directory: Path = Path(), retries: int = 0
) -> AsyncIterator[AsyncOpenAI]:
    backends = backends_from(f"b: {{adapter: simulated, model: m, profile: {profile}}}", directory)
    async with running(backends) as (host, port):
        client = AsyncOpenAI(
            base_url=f"http://{host}:{port}/b/v1", api_key="none", max_retries=retries
        )
        async with client:
            yield client


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
        lines = [line async for line in _lines(client, {"stream": True})]
    assert lines[-1] == "[DONE]"
    assert all("usage" not in json.loads(line) for line in lines[:-1])


async def test_with_include_usage_every_chunk_has_a_null_usage_but_the_last() -> None:
    body = {"stream": True, "stream_options": {"include_usage": True}}
    async with client_of() as client:
        lines = [line async for line in _lines(client, body)]
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


async def test_max_tokens_ends_an_answer_early() -> None:
    async with client_of() as client:
        answer = await client.chat.completions.create(model="m", messages=ASK, max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


async def test_a_reasoning_model_can_think_all_its_tokens_away() -> None:
    async with client_of("{like: o3-mini, speed: instant}") as client:
        answer = await client.chat.completions.create(
            model="m", messages=ASK, max_completion_tokens=100
        )
    usage = answer.usage
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == ""
    assert usage is not None
    assert usage.completion_tokens == 100
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 100


async def test_a_known_answer_is_given_and_sometimes_wrongly(tmp_path: Path) -> None:
    questions = [f"What is the sum of {i} and {i + 1}?" for i in range(200)]
    rows = [
        {"prompt": question, "answer": f"The sum is {2 * i + 1}."}
        for i, question in enumerate(questions)
    ]
    (tmp_path / "answers.jsonl").write_text("\n".join(map(json.dumps, rows)))
    profile = "{speed: instant, error_rate: 11%, answers: answers.jsonl}"
    async with client_of(profile, directory=tmp_path) as client:
        given = await asyncio.gather(*(_ask(client, question) for question in questions))
    wrong = [
        (row["answer"], text)
        for row, text in zip(rows, given, strict=True)
        if text != row["answer"]
    ]
    assert 6 <= len(wrong) <= 42  # binomial(200, 0.11): outside in fewer than 1 of 1,000 seeds
    assert all(text.startswith("The sum is ") for _, text in wrong)


async def test_sureness_tells_right_from_wrong_answers(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"prompt": f"{i}?", "answer": str(1000 + i)}) for i in range(300))
    )
    profile = "{like: local, speed: instant, error_rate: 50%, answers: a.jsonl}"
    async with client_of(profile, directory=tmp_path) as client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": f"{i}?"}], logprobs=True
                )
                for i in range(300)
            )
        )
    scores: dict[bool, list[float]] = {True: [], False: []}
    for i, answer in enumerate(answers):
        tokens = answer.choices[0].logprobs.content  # type: ignore[union-attr]
        mean = sum(token.logprob for token in tokens or []) / len(tokens or [1])
        scores[answer.choices[0].message.content == str(1000 + i)].append(math.exp(mean))
    pairs = [right > wrong for right in scores[True] for wrong in scores[False]]
    ranked_well = sum(pairs) / len(pairs)
    assert 0.80 < ranked_well < 0.999  # informative, not an oracle


async def test_runs_are_repeatable_and_tries_differ(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "q", "answer": "12345"}\n')
    profile = "{speed: instant, error_rate: 50%, answers: a.jsonl}"
    runs = []
    for _ in range(2):
        async with client_of(profile, directory=tmp_path) as client:
            runs.append([await _ask(client, "q") for _ in range(20)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1


async def test_the_right_answer_never_comes_from_the_request() -> None:
    async with client_of() as client:
        answer = await client.chat.completions.create(
            model="m", messages=ASK, metadata={"answer": "12 points", "simulate": "answer=right"}
        )
    assert "12 points" not in (answer.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("profile", "low_s", "high_s"),
    [("gpt-4", 0.02, 0.5), ("{like: local}", 0.0, 0.15)],
)
async def test_takes_its_time(profile: str, low_s: float, high_s: float) -> None:
    fast = f"{{like: {profile.strip('{}').removeprefix('like: ')}, speed: 10}}"
    async with client_of(fast) as client:
        await client.models.list()
        started = time.monotonic()
        for _ in range(3):
            await _ask(client, "How long does it take?")
        took_s = (time.monotonic() - started) / 3
    assert low_s < took_s < high_s


# -- faults ------------------------------------------------------------------------------------


async def test_status_fault_is_an_openai_error_with_retry_after() -> None:
    async with client_of() as client:
        with pytest.raises(openai.RateLimitError) as failed:
            await _failing(client, "status=429,retry_after=1")
    assert failed.value.code == "rate_limit_exceeded"
    assert failed.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("fault", ["nothing", "reset"])
async def test_a_connection_can_end_without_a_byte(fault: str, is_stream: bool) -> None:
    async with client_of() as client:
        with pytest.raises(openai.APIConnectionError):
            await _failing(client, fault, is_stream=is_stream)


async def test_html_and_empty_bodies() -> None:
    async with client_of() as client:
        with pytest.raises(openai.InternalServerError) as failed:
            await _failing(client, "html,status=502")
        page = await _raw(client, {"metadata": {"simulate": "html"}})
        nothing = await _raw(client, {"metadata": {"simulate": "empty"}})
    assert failed.value.response.headers["content-type"] == "text/html"
    assert b"<html>" in page
    assert nothing == b""


@pytest.mark.parametrize("fault", ["cut=2", "cut_reset=2"])
async def test_a_cut_stream_has_its_chunks_and_no_end(fault: str) -> None:
    got = bytearray()
    async with client_of() as client:
        with pytest.raises(aiohttp.ClientError):
            await _collect(client, {"stream": True, "metadata": {"simulate": fault}}, got)
    assert b"[DONE]" not in got
    assert b'finish_reason":"stop' not in got
    if fault == "cut=2":  # after a reset what was sent may be lost
        assert got.count(b'"content":"') == 3


async def test_a_cut_body_is_shorter_than_its_length() -> None:
    async with client_of() as client:
        with pytest.raises(openai.APIConnectionError):
            await _failing(client, "cut=1")


async def test_ends_without_finish_or_done() -> None:
    async with client_of() as client:
        no_finish = await _raw(client, {"stream": True, "metadata": {"simulate": "no_finish"}})
        no_done = await _raw(client, {"stream": True, "metadata": {"simulate": "no_done"}})
        half = await _raw(client, {"stream": True, "metadata": {"simulate": "half_event"}})
    assert b'"finish_reason":"stop"' not in no_finish
    assert b'"finish_reason":"stop"' in no_done
    assert b"[DONE]" not in no_finish + no_done + half
    assert not half.endswith(b"\n\n")


async def test_an_error_can_be_the_first_event_and_a_chunk_no_json() -> None:
    async with client_of() as client:
        with pytest.raises(openai.APIError):
            await _failing(client, "error_event", is_stream=True)
        with pytest.raises(json.JSONDecodeError):
            await _failing(client, "bad_json", is_stream=True)


async def test_slow_and_stall_are_real_time_even_for_instant_profiles() -> None:
    async with client_of() as client:
        started = time.monotonic()
        await _raw(client, {"metadata": {"simulate": "slow=120"}})
        slow_s = time.monotonic() - started
        await _raw(client, {"stream": True, "metadata": {"simulate": "stall=0.12,after=2"}})
        both_s = time.monotonic() - started
    assert slow_s >= 0.12
    assert both_s - slow_s >= 0.12


async def test_an_unknown_fault_is_refused() -> None:
    async with client_of() as client:
        with pytest.raises(openai.BadRequestError, match="explode"):
            await _failing(client, "explode")


async def test_a_profiles_faults_hit_the_given_share() -> None:
    profile = "{speed: instant, faults: [status=500], fault_rate: 30%}"
    failed = 0
    async with client_of(profile) as client:
        for i in range(100):
            try:
                await _ask(client, f"{i}?")
            except openai.InternalServerError:
                failed += 1
    assert 14 <= failed <= 47  # binomial(100, 0.3)


async def test_stops_answering_when_its_client_is_gone() -> None:
    simulator = Simulator(backends_from("b: {adapter: simulated, model: m, profile: o3-mini}"))
    async with playing(simulator) as (host, port):
        client = AsyncOpenAI(base_url=f"http://{host}:{port}/b/v1", api_key="none", max_retries=0)
        async with client:
            with pytest.raises(openai.APITimeoutError):
                await client.with_options(timeout=0.2).chat.completions.create(
                    model="m", messages=ASK
                )
            await asyncio.sleep(0.1)
    assert (simulator.cancelled, simulator.in_flight) == (1, 0)


async def test_unknown_backends_are_not_found() -> None:
    async with client_of() as client:
        other = client.with_options(base_url=str(client.base_url).replace("/b/", "/c/"))
        with pytest.raises(openai.NotFoundError):
            await _ask(other, "?")


def test_a_backend_name_with_a_slash_has_a_path() -> None:
    async def ask() -> str:
        backends = backends_from(
            "openai/gpt: {adapter: simulated, model: m, profile: {speed: instant}}"
        )
        async with running(backends) as (host, port):
            url = f"http://{host}:{port}/openai%2Fgpt/v1"
            async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
                return await _ask(client, "?")

    assert asyncio.run(ask())


def test_its_process_ends_at_sigterm() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        child = os.fork()
        if child == 0:
            backends = backends_from("b: {adapter: simulated, profile: {speed: instant}}")
            serve_simulated(listening, backends)
            os._exit(0)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /b/v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in connection.recv(1000)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


# -- asking ------------------------------------------------------------------------------------


async def _ask(client: AsyncOpenAI, prompt: str) -> str:
    answer = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}]
    )
    return answer.choices[0].message.content or ""


async def _failing(client: AsyncOpenAI, faults: str, *, is_stream: bool = False) -> None:
    answer = await client.chat.completions.create(
        model="m", messages=ASK, stream=is_stream, metadata={"simulate": faults}
    )
    if is_stream:
        async for _ in answer:  # type: ignore[union-attr]
            pass


async def _bytes(client: AsyncOpenAI, extra: dict[str, object]) -> AsyncIterator[bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{client.base_url}chat/completions", json={"model": "m", "messages": ASK} | extra
        ) as response,
    ):
        async for data in response.content.iter_any():
            yield data


async def _collect(client: AsyncOpenAI, extra: dict[str, object], got: bytearray) -> None:
    async for data in _bytes(client, extra):
        got += data


async def _raw(client: AsyncOpenAI, extra: dict[str, object]) -> bytes:
    return b"".join([data async for data in _bytes(client, extra)])


async def _lines(client: AsyncOpenAI, extra: dict[str, object]) -> AsyncIterator[str]:
    for event in (await _raw(client, extra)).decode().split("\n\n")[:-1]:
        yield event.removeprefix("data: ")
