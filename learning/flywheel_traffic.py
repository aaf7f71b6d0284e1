"""The app's side of the flywheel: calls through the proxy, and what came back."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from .answer_match import COMPARISONS, answer_text
from .flywheel_calls import Call

ANSWER_TOKENS_MAX: Final = 8192
"""Those a model thinks count too: o3-mini, cut short, answers nothing."""
TIMEOUT_S: Final = 120.0
ID: Final = "x-pointsman-decision-id"


class Outcome(msgspec.Struct, frozen=True):
    """What became of one call. `latency_s` as the app saw it."""

    text: str
    is_right: bool
    latency_s: float
    decision_id: str
    backend: str | None = None
    cost_usd: float | None = None
    confidence: float | None = None
    is_escalated: bool = False


def ask_all(
    base_url: str,
    calls: Iterable[Call],
    *,
    at_once: int,
    should_stop: Callable[[int], bool] = lambda done: False,
) -> list[Outcome]:
    """Ask every call once, `at_once` at a time, until `should_stop` is told of enough."""
    return asyncio.run(_ask_all(base_url, calls, at_once, should_stop))


async def _ask_all(
    base_url: str, calls: Iterable[Call], at_once: int, should_stop: Callable[[int], bool]
) -> list[Outcome]:
    queue, outcomes = iter(calls), list[Outcome]()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:

        async def work() -> None:
            for call in queue:
                outcomes.append(await _ask(session, base_url, call))
                if await asyncio.to_thread(should_stop, len(outcomes)):
                    return

        await asyncio.gather(*(work() for _ in range(at_once)))
    return outcomes


async def _ask(session: aiohttp.ClientSession, base_url: str, call: Call) -> Outcome:
    body = {
        "model": "auto",
        "messages": call.messages,
        "temperature": 0,
        "max_completion_tokens": ANSWER_TOKENS_MAX,
    }
    started_s = time.monotonic()
    async with session.post(f"{base_url}/chat/completions", json=body) as response:
        found = await response.json()
        latency_s = time.monotonic() - started_s
        said = _said(found)
        return Outcome(said, is_right(call, said), latency_s, response.headers.get(ID, ""))


def _said(found: Mapping[str, Any]) -> str:
    """The answer's text; empty where there is none, which is wrong."""
    choices = found.get("choices")
    return answer_text(choices[0]["message"]) if choices else ""


def is_right(call: Call, said: str) -> bool:
    """By value, as benchmarks compare."""
    return COMPARISONS["auto"](msgspec.json.encode(call.answer).decode(), said)


def with_records(outcomes: Sequence[Outcome], lines: Iterable[str]) -> list[Outcome]:
    """Who answered, at what cost and how surely: from the captures' own records."""
    records = {str(record["id"]): record for record in map(msgspec.json.decode, lines)}
    return [_with_record(one, records.get(one.decision_id, {})) for one in outcomes]


def _with_record(one: Outcome, record: Mapping[str, Any]) -> Outcome:
    return msgspec.structs.replace(
        one,
        backend=record.get("backend"),
        cost_usd=record.get("cost_usd"),
        confidence=record.get("confidence"),
        is_escalated=bool(record.get("escalated")),
    )


def keep(path: Path, outcomes: Sequence[Outcome]) -> None:
    """For a later run that goes on behind this step."""
    path.write_bytes(msgspec.json.encode(outcomes))


def kept(path: Path) -> list[Outcome]:
    """What `keep` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=list[Outcome])
