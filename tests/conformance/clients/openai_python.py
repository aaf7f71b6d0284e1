"""openai-python against every case; run by its own interpreter. JSON in, one JSON line a case."""

import asyncio
import json
import ssl
import sys
import time

from openai import APIError, AsyncOpenAI, DefaultAsyncHttpx2Client

CASE_S_MAX = 60.0
TLS = ssl.create_default_context()  # one for all: making one takes longer than a case
MESSAGES = [{"role": "user", "content": "hi"}]


def described(error):
    """What a program that catches it can see."""
    seen = {"ended": "error", "error": type(error).__name__}
    if isinstance(error, APIError):
        seen |= {"code": error.code, "status": getattr(error, "status_code", None)}
    return seen


async def ask_for_a_response(client, case, seen):
    asked = {"model": case["model"], "input": "hi"}
    if not case["stream"]:
        answer = await client.responses.create(**asked)
        seen |= {"text": answer.output_text, "finish": answer.status}
        return
    async with await client.responses.create(**asked, stream=True) as stream:
        async for event in stream:
            if event.type == "response.output_text.delta":
                seen["text"] += event.delta
            elif event.type in ("response.completed", "response.incomplete"):
                seen["finish"] = event.response.status
            elif event.type == "error":
                seen |= {"ended": "error", "error": "error event", "code": event.code}


async def ask(client, case, seen):
    if case["api"] == "responses":
        await ask_for_a_response(client, case, seen)
        return
    if not case["stream"]:
        answer = await client.chat.completions.create(model=case["model"], messages=MESSAGES)
        choice = answer.choices[0]
        seen |= {"text": choice.message.content, "finish": choice.finish_reason}
        return
    async with await client.chat.completions.create(
        model=case["model"], messages=MESSAGES, stream=True
    ) as stream:
        async for chunk in stream:
            for choice in chunk.choices:
                seen["text"] += choice.delta.content or ""
                seen["finish"] = choice.finish_reason or seen["finish"]


async def run(case):
    seen = {"name": case["name"], "ended": "ok", "text": "", "finish": None, "attempts": 0}

    async def count(request):
        seen["attempts"] += 1

    await asyncio.sleep(case["after_s"])
    started_s = time.monotonic()
    try:
        async with (
            asyncio.timeout(CASE_S_MAX),
            AsyncOpenAI(
                base_url=case["base_url"],
                api_key="none",
                http_client=DefaultAsyncHttpx2Client(event_hooks={"request": [count]}, verify=TLS),
                timeout=CASE_S_MAX,  # to connect as well: a busy machine is no fault of a case
            ) as client,
        ):
            await ask(client, case, seen)
    except Exception as error:  # noqa: BLE001 - whatever a caller would get is what is compared
        if seen["ended"] == "ok":  # of several errors in a stream the first counts
            seen |= described(error)
    seen["total_s"] = time.monotonic() - started_s
    sys.stdout.write(json.dumps(seen) + "\n")


async def main():
    warm_up, *cases = json.load(sys.stdin)
    await run(warm_up)  # what is imported and built at first use takes seconds on a busy machine
    await asyncio.gather(*(run(case) for case in cases))


asyncio.run(main())
