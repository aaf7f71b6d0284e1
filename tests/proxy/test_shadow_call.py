"""What a copy asks, and how its one call ends."""

import asyncio
import json
from types import SimpleNamespace

import msgspec
import pytest

from policies.shadowing import DailyBudget
from policies.words import Route, Timeout
from proxy.configuration import parse_configuration
from proxy.endpoints import CHAT
from proxy.heads import RequestHead
from proxy.shadow import Order
from proxy.shadow_call import DROPPED, ShadowCall, question_body
from proxy.shadow_label import Said
from proxy.wiring import wire
from tests.support.plane import config, whole_answer
from tests.support.scripted import ScriptedUpstream, request, stall

HEAD = RequestHead(b"POST", CHAT.path, [], is_http_10=False, keeps_alive=True)


def test_the_question_is_left_as_it_is_but_for_how_it_is_to_be_answered():
    body = {
        "model": "auto", "messages": [{"role": "user", "content": "hi"}], "stream": True,
        "stream_options": {}, "n": 3, "logprobs": True, "top_logprobs": 2, "store": True,
        "metadata": {"a": "b"}, "seed": 12345678901234567890, "tools": [], "unknown": 1.5,
    }  # fmt: skip
    assert json.loads(question_body(json.dumps(body).encode())) == {
        key: body[key] for key in ("model", "messages", "seed", "tools", "unknown")
    }


def test_what_is_no_object_is_no_question():
    with pytest.raises(msgspec.MsgspecError):
        question_body(b"[]")


async def play(script, tmp_path, *, total_s=5.0, body=b'{"messages":[],"model":"x"}', act=None):
    """One call to a scripted backend, its end, and how often that was told."""
    with ScriptedUpstream(script) as upstream:
        text = config("  default: {candidates: [a]}", a=upstream.base_url)
        loop = asyncio.get_running_loop()
        configuration = parse_configuration(text, file=tmp_path / "c.yaml", environment={})
        wiring = wire(configuration, None, loop=loop, before=None)
        question = SimpleNamespace(
            order=Order("a", 1.0), wiring=wiring, endpoint=CHAT, head=HEAD, body=body, model="x",
            route=Route(name="r", candidates=("a",), timeout=Timeout(total_s=total_s)),
            served=Said(), request_id="r1",
        )  # fmt: skip
        ended = asyncio.Event()
        calls = []

        def on_end(call):
            calls.append(call)
            ended.set()

        call = ShadowCall(question, DailyBudget(1.0), on_end, loop=loop)
        call.start(wiring.pools["a"])
        if act is not None:
            await asyncio.to_thread(upstream.wait_for_connection)
            act(call)
        else:
            async with asyncio.timeout(5):
                await ended.wait()
        await asyncio.sleep(0.01)
        assert len(calls) == (act is None)
        wiring.pools["a"].close()
        return call


def test_an_answer_is_read_timed_and_priced(tmp_path):
    call = asyncio.run(play([request, whole_answer("hello")], tmp_path))
    assert call.said.text == "hello"
    assert call.failure is None
    assert call.cost_usd == pytest.approx(13e-6)
    assert call.took_us > 0
    assert call.usage.completion == 5
    assert repr(call).startswith("<ShadowCall r1 <Attempt shadow a ended")


def test_it_has_the_time_of_its_route(tmp_path):
    call = asyncio.run(play([request, stall(5)], tmp_path, total_s=0.05))
    assert (call.failure, call.said) == ("timeout", None)


def test_who_aborts_it_knows_already(tmp_path):
    call = asyncio.run(play([request, stall(5)], tmp_path, act=ShadowCall.abort))
    assert (call.failure, call.said) == (DROPPED, None)


def test_what_must_not_be_asked_is_not_sent(tmp_path):
    call = asyncio.run(play([request], tmp_path, body=b"[]"))
    assert (call.failure, call.attempt, call.cost_usd, call.took_us) == (
        "refused",
        None,
        None,
        None,
    )
    assert call.usage.completion is None
