"""What can be told of a streamed answer before its end: whether it may flow, or has no hope.

    hold: N     at N tokens their confidence decides: below `accept` it is hopeless, else it flows
    hold: all   hopeless is what could not be accepted any more, whatever is still to come

Of a part only two things tell. Logprobs: below `accept`, and still below it if as many tokens again
were all certain. And what has to be JSON but does not begin as JSON: every check and schema fails
then. A second answer that may agree can save anything but that. Where a threshold was proved on
whole answers (`accept: calibrated`), a part is never enough to let an answer flow.
"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from .words import Route

TOKENS_MIN = 32
"""Fewer tell too little of a whole answer."""
_JSON_BEGINS = frozenset('{["-0123456789tfn')


class Watched(msgspec.Struct, frozen=True):
    """What to look for in the stream of one request."""

    accept: float
    flow_tokens: int | None
    """From so many on it may flow; None: never before its end."""
    reads_logprobs: bool
    needs_json: bool


class Outlook(msgspec.Struct, frozen=True):
    """`next_tokens`: nothing changes before so many have come."""

    word: Literal["wait", "flow", "hopeless"]
    confidence: float | None
    next_tokens: int


def watched_in(route: Route, *, has_schema: bool) -> Watched | None:
    """None where a part tells nothing and nothing flows before its end."""
    rule = route.confidence
    if rule is None or route.hold == "none":
        return None
    is_promised = isinstance(rule.accept, str) or rule.model is not None
    accept = 0.0 if isinstance(rule.accept, str) else rule.accept
    flow_tokens = route.hold if isinstance(route.hold, int) and not is_promised else None
    may_agree = "agreement" in rule.signals and route.hold == "all"
    needs_json = ("checks" in rule.signals and bool(route.checks)) or (
        "schema" in rule.signals and has_schema
    )
    reads_logprobs = "logprobs" in rule.signals and not is_promised and not may_agree
    if flow_tokens is None and not reads_logprobs and not needs_json:
        return None
    return Watched(accept, flow_tokens, reads_logprobs, needs_json and accept > 0.0)


def outlook(watched: Watched, *, tokens: int, logprobs: Sequence[float], opening: str) -> Outlook:
    """After so many tokens of an answer; `opening` is its text so far."""
    if watched.needs_json:
        begins = opening.lstrip()[:1]
        if begins and begins not in _JSON_BEGINS:
            return Outlook("hopeless", 0.0, tokens + 1)
    usable = [min(value, 0.0) for value in logprobs if not math.isnan(value)]
    total, count = sum(usable), len(usable)
    known = math.exp(total / count) if watched.reads_logprobs and count else None
    if watched.flow_tokens is not None and tokens >= watched.flow_tokens:
        is_doubted = known is not None and known < watched.accept
        return Outlook("hopeless" if is_doubted else "flow", known, tokens + 1)
    if known is not None and count >= TOKENS_MIN and math.exp(total / (2 * count)) < watched.accept:
        return Outlook("hopeless", known, 2 * tokens)
    return Outlook("wait", known, _next_tokens(watched, tokens))


def _next_tokens(watched: Watched, tokens: int) -> int:
    """Looking at every doubling costs no more than looking once at the end."""
    next_tokens = max(TOKENS_MIN, 2 * tokens)
    if watched.flow_tokens is not None:
        next_tokens = min(next_tokens, watched.flow_tokens)
    return max(next_tokens, tokens + 1)
