"""How far a whole answer is trusted: what was read of it, given to the policies."""

from typing import TYPE_CHECKING

from policies.confidence import Answer, judge

from .attempt import Attempt

if TYPE_CHECKING:
    from .exchange import Exchange


def judge_answer(exchange: "Exchange", attempt: Attempt) -> None:
    """Set the attempt's confidence, where the route asks for it."""
    assert exchange.decision is not None
    endpoint = exchange.endpoint
    assert endpoint is not None
    route = exchange.decision.route
    if route.confidence is None or not endpoint.is_judged:
        return
    reader = attempt.reader
    answer = Answer(reader.text, reader.finish_reason, reader.token_logprobs, reader.has_tool_calls)
    looks_in_prompt = any(check.in_prompt for check in route.checks)
    attempt.confidence = attempt.raw_confidence = judge(
        route,
        answer,
        prompt_text=endpoint.prompt_text(exchange.request) if looks_in_prompt else "",
        response_schema=endpoint.response_schema(exchange.request),
    ).value
