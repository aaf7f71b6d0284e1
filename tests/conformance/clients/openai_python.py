"""openai-python against every case; run by its own interpreter. JSON in, one JSON line a case."""

import asyncio
import json
import sys
import time

from openai import APIError, AsyncOpenAI, DefaultAsyncHttpx2Client

CASE_S_MAX = 40.0
MESSAGES = [{"role": "user", "content": "hi"}]


def described(error):
    """What a program that catches it can see."""
    seen = {"ended": "error", "error": type(error).__name__}
    if isinstance(error, APIError):
        seen |= {"code": error.code, "status": getattr(error, "status_code", None)}
    return seen


async def ask(client, case, seen):
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
                http_client=DefaultAsyncHttpx2Client(event_hooks={"request": [count]}),
            ) as client,
        ):
            await ask(client, case, seen)
    except Exception as error:  # noqa: BLE001 - whatever a caller would get is what is compared
        seen |= described(error)
    seen["total_s"] = time.monotonic() - started_s
    sys.stdout.write(json.dumps(seen) + "\n")


async def main():
    await asyncio.gather(*(run(case) for case in json.load(sys.stdin)))


asyncio.run(main())
