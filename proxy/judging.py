"""How far a whole answer is trusted: what was read of it, given to the policies.

Where a promise was proved with a fitted model, the model says what that comes to: how likely the
answer is right. What the rules refuse outright it does not bring back.
"""

import time
from typing import TYPE_CHECKING, Final

from policies.confidence import Answer, Confidence, judge
from policies.fitted import Given, logprob_summary
from policies.step import Ask, Outcome
from policies.steps import next_step

from .attempt import Attempt
from .deciding import asked_text

if TYPE_CHECKING:
    from .exchange import Exchange

monotonic: Final = time.monotonic


NOT_JUDGED: Final = Confidence(None, {}, "not judged")


def judge_answer(
    exchange: "Exchange",
    attempt: Attempt,
    *,
    other: Attempt | None = None,
    judged: float | None = None,
) -> Confidence:
    """Set the attempt's confidence, where the route asks for it.

    `other` is a whole answer to compare with, `judged` what a judge said.
    """
    assert exchange.decision is not None
    endpoint = exchange.endpoint
    assert endpoint is not None
    route = exchange.decision.route
    if route.confidence is None or not endpoint.is_judged:
        return NOT_JUDGED
    looks_in_prompt = any(check.in_prompt for check in route.checks)
    found = judge(
        route,
        _answer(attempt),
        prompt_text=endpoint.prompt_text(exchange.request) if looks_in_prompt else "",
        response_schema=endpoint.response_schema(exchange.request),
        other=None if other is None else _answer(other),
        judged=judged,
    )
    attempt.confidence = attempt.raw_confidence = found.value
    if route.confidence.model and attempt.raw_confidence != 0.0:
        attempt.confidence = _trust(exchange, attempt, _answer(attempt), route.confidence.model)
    return found


def would_escalate(exchange: "Exchange", attempt: Attempt) -> bool:
    """Whether doubt in this answer would lead to another call now."""
    assert exchange.decision is not None
    now_s = monotonic()
    doubted = Outcome(backend=attempt.backend.name, kind=attempt.kind, confidence=0.0)
    step = next_step(
        exchange.decision,
        [*[one.outcome() for one in exchange.ended], doubted],
        time_left_s=exchange.deadline_s - now_s,
        elapsed_s=now_s - exchange.arrival_s,
        upstream=exchange.plane.watch.upstream(has_failed=False),
    )
    return isinstance(step, Ask)


def _answer(attempt: Attempt) -> Answer:
    reader = attempt.reader
    return Answer(reader.text, reader.finish_reason, reader.token_logprobs, reader.has_tool_calls)


def _trust(exchange: "Exchange", attempt: Attempt, answer: Answer, model: str) -> float | None:
    """P(right) as the model of the promise has it; None once that is not the one at hand."""
    fitted, features = exchange.plane.fitted, exchange.features
    assert features is not None
    if fitted.digest != model:
        return None
    given = Given(
        asked_text(exchange),
        answer.text or "",
        attempt.raw_confidence,
        *logprob_summary(answer.token_logprobs),
    )
    return fitted.trust(attempt.backend.name, given, features.task)
