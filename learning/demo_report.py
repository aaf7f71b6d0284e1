"""The demo's outcome as a table and a verdict: pure, from what was asked, seen and recorded."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from .demo_questions import Question

PROMPT_CHARACTERS = 44
ANSWER_CHARACTERS = 22


class Asked(msgspec.Struct, frozen=True):
    """One request as the client saw it."""

    question: Question
    is_stream: bool
    latency_s: float
    text: str = ""
    decision_id: str | None = None
    error: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether the answer is the known one."""
        return self.error is None and self.question.is_answered_by(self.text)


Capture = Mapping[str, Any]
"""One line of `captures --json`."""


def table(asked: Sequence[Asked], captures: Mapping[str, Capture]) -> Table:
    """A row per request: who answered, at what cost, latency and confidence, and why."""
    title = "What became of each request"
    result = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), expand=True
    )
    result.add_column("prompt", no_wrap=True, ratio=7)
    result.add_column("answer", no_wrap=True, ratio=3)
    result.add_column("backend", no_wrap=True, min_width=7)
    for name, width in (("cost $", 8), ("ms", 5), ("sure", 4)):
        result.add_column(name, justify="right", no_wrap=True, min_width=width)
    result.add_column("what happened", ratio=9)
    for item in asked:
        result.add_row(*_row(item, captures.get(item.decision_id or "", {})))
    return result


def _row(item: Asked, capture: Capture) -> list[str | Text]:
    mark = "stream" if item.is_stream else ""
    answer = Text(_short(item.text or item.error or "", ANSWER_CHARACTERS))
    answer.stylize("green" if item.is_right else "red")
    return [
        _short(item.question.prompt, PROMPT_CHARACTERS),
        answer,
        str(capture.get("backend") or "-"),
        _figure(capture.get("cost_usd"), "{:.6f}"),
        f"{item.latency_s * 1000:.0f}",
        _figure(capture.get("confidence"), "{:.2f}"),
        " · ".join(filter(None, (mark, story(capture)))),
    ]


def story(capture: Capture) -> str:
    """The attempts in words: `local 0.31, not sure enough: escalated to gpt-4`."""
    attempts = list(capture.get("attempts") or ())
    parts = []
    for attempt, following in pairwise(attempts):
        parts.append(f"{attempt.get('backend')} {_why(attempt)}: {_passed_on(following)}")
    return "; ".join(parts)


def _why(attempt: Capture) -> str:
    """Why an attempt was not the last one."""
    if attempt.get("error_type"):
        return str(attempt["error_type"])
    if attempt.get("finish_reason") == "length":
        return "cut by its token limit"
    confidence = attempt.get("confidence")
    if confidence == 0:
        return "failed its checks"
    return f"{_figure(confidence, '{:.2f}')}, not sure enough"


def _passed_on(attempt: Capture) -> str:
    word = {"escalation": "escalated to", "fallback": "fell back to", "retry": "retried on"}
    return f"{word.get(str(attempt.get('kind')), 'then')} {attempt.get('backend')}"


def summary(asked: Sequence[Asked], captures: Mapping[str, Capture]) -> list[str]:
    """The figures of the whole run, a line each."""
    mine = [captures.get(item.decision_id or "", {}) for item in asked]
    backends = Counter(str(capture.get("backend")) for capture in mine)
    costs = [capture["cost_usd"] for capture in mine if capture.get("cost_usd") is not None]
    hosted = [gpt_4_cost_usd(capture) for capture in mine]
    escalated = sum(is_escalated(capture) for capture in mine)
    right = sum(item.is_right for item in asked)
    shares = ", ".join(f"{name} {count}" for name, count in backends.most_common())
    return [
        f"answered by: {shares}",
        f"escalated: {escalated} of {len(asked)}",
        f"right: {right} of {len(asked)} (hosted answers are simulated, from the known ones)",
        f"cost: ${sum(costs):.6f}; all on gpt-4 at list price, about ${sum(hosted):.6f}",
    ]


def is_escalated(capture: Capture) -> bool:
    """Whether another backend was asked because the first was not trusted."""
    return any(attempt.get("kind") == "escalation" for attempt in capture.get("attempts") or ())


def gpt_4_cost_usd(capture: Capture) -> float:
    """What these tokens cost at $30 and $60 per million; tokens are the serving backend's."""
    visible = (capture.get("completion_tokens") or 0) - (capture.get("reasoning_tokens") or 0)
    return ((capture.get("prompt_tokens") or 0) * 30 + visible * 60) / 1e6


def faults(asked: Sequence[Asked], captures: Mapping[str, Capture], exported: int) -> list[str]:
    """What went wrong; empty when the demo showed what it is for."""
    found = [f"{item.question.prompt!r}: {item.error}" for item in asked if item.error]
    recorded = [captures.get(item.decision_id or "") for item in asked]
    missing = sum(capture is None for capture in recorded)
    if missing:
        found.append(f"{missing} answered requests have no record")
    whole = [capture for capture in recorded if capture and capture.get("complete")]
    if len(whole) < len(asked) - missing:
        found.append(f"{len(asked) - missing - len(whole)} records are not complete")
    if exported < len(whole):
        found.append(f"{exported} exported of {len(whole)} complete answers")
    if not any(capture.get("backend") == "local" for capture in whole):
        found.append("the local model answered nothing")
    if not any(map(is_escalated, whole)):
        found.append("nothing was escalated")
    return found


def _figure(value: object, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) else "-"


def _short(text: str, characters: int) -> str:
    words = " ".join(text.split())
    return words if len(words) <= characters else words[: characters - 1] + "…"
