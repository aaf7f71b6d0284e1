"""The Anthropic library against every case. JSON in, one JSON line a case."""

import asyncio
import json
import ssl
import sys
import time

from anthropic import APIError, APIStatusError, AsyncAnthropic, DefaultAsyncHttpxClient

CASE_S_MAX = 60.0
TLS = ssl.create_default_context()  # one for all: making one takes longer than a case
ASKED = {"max_tokens": 16, "messages": [{"role": "user", "content": "hi"}]}


def described(error):
    """What a program that catches it can see."""
    seen = {"ended": "error", "error": type(error).__name__}
    if isinstance(error, APIStatusError):
        seen["status"] = error.status_code
    if isinstance(error, APIError) and isinstance(error.body, dict):
        seen["code"] = (error.body.get("error") or {}).get("type")
    return seen


async def ask(client, case, seen):
    if not case["stream"]:
        answer = await client.messages.create(model=case["model"], **ASKED)
        seen |= {"text": answer.content[0].text, "finish": answer.stop_reason}
        return
    async with await client.messages.create(model=case["model"], stream=True, **ASKED) as stream:
        async for event in stream:
            if event.type == "content_block_delta":
                seen["text"] += event.delta.text
            if event.type == "message_delta":
                seen["finish"] = event.delta.stop_reason


async def run(case):
    seen = {"name": case["name"], "ended": "ok", "text": "", "finish": None, "attempts": 0}

    async def count(request):
        seen["attempts"] += 1

    await asyncio.sleep(case["after_s"])
    started_s = time.monotonic()
    try:
        async with (
            asyncio.timeout(CASE_S_MAX),
            AsyncAnthropic(
                base_url=case["base_url"].removesuffix("/v1"),
                api_key="none",
                http_client=DefaultAsyncHttpxClient(event_hooks={"request": [count]}, verify=TLS),
                timeout=CASE_S_MAX,  # to connect as well: a busy machine is no fault of a case
            ) as client,
        ):
            await ask(client, case, seen)
    except Exception as error:  # noqa: BLE001 - whatever a caller would get is what is compared
        seen |= described(error)
    seen["total_s"] = time.monotonic() - started_s
    sys.stdout.write(json.dumps(seen) + "\n")


async def main():
    warm_up, *cases = json.load(sys.stdin)
    await run(warm_up)  # what is imported and built at first use takes seconds on a busy machine
    await asyncio.gather(*(run(case) for case in cases))


asyncio.run(main())
