import asyncio
import json

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from learning.flywheel_calls import calls
from learning.flywheel_traffic import Outcome, ask_all, is_right, keep, kept, with_records

CALLS = list(calls(12))


async def asked(handler, made=CALLS, **options):
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    async with TestServer(app) as server:
        base_url = str(server.make_url("/v1"))
        return await asyncio.to_thread(ask_all, base_url, made, at_once=3, **options)


def answered(text):
    message = {"role": "assistant", "content": text}
    return web.json_response(
        {"choices": [{"message": message}]}, headers={"x-pointsman-decision-id": "d1"}
    )


async def test_every_call_is_asked_once_and_judged_by_value():
    seen = []

    async def handler(request):
        body = await request.json()
        seen.append(body["messages"][-1]["content"])
        call = next(one for one in CALLS if one.text == seen[-1])
        return answered(json.dumps(call.answer, indent=1) if len(seen) > 1 else "{}")

    outcomes = await asked(handler)
    assert sorted(seen) == sorted(call.text for call in CALLS)
    assert [one.is_right for one in outcomes].count(False) == 1
    assert {one.decision_id for one in outcomes} == {"d1"}
    assert all(one.latency_s > 0 for one in outcomes)


async def test_no_answer_is_a_wrong_one():
    async def handler(request):
        return web.json_response({"error": {"message": "no"}}, status=503)

    (outcome,) = await asked(handler, CALLS[:1])
    assert (outcome.text, outcome.is_right, outcome.decision_id) == ("", False, "")


async def test_it_stops_when_it_is_told():
    async def handler(request):
        return answered("{}")

    outcomes = await asked(handler, list(calls(300)), should_stop=lambda done: done >= 6)
    assert 6 <= len(outcomes) <= 9


def test_an_answer_is_right_by_value():
    (call,) = calls(1)
    assert is_right(call, json.dumps({**call.answer, "payoff": float(call.payoff)}))
    assert not is_right(call, json.dumps({**call.answer, "payoff": 1}))
    assert not is_right(call, "I do not know")


def test_records_say_who_answered(tmp_path):
    plain = [Outcome("a", True, 1.0, "d1"), Outcome("b", False, 2.0, "d2")]
    record = {"id": "d1", "backend": "student", "cost_usd": 0.1, "confidence": 0.9,
              "escalated": True}  # fmt: skip
    found = with_records(plain, [msgspec.json.encode(record).decode()])
    assert found[0] == Outcome("a", True, 1.0, "d1", "student", 0.1, 0.9, True)
    assert found[1] == plain[1]
    keep(tmp_path / "kept.json", found)
    assert kept(tmp_path / "kept.json") == found
