"""Prefix affinity as a cost term: who has read a conversation's beginning reads it again for less.

Providers keep the tokens of a prompt for some minutes and bill them as `cached_input` when the
next prompt begins with them. So the backend that answered a conversation last is expected to
have its former prompt cached, and its cost is lowered by that; nothing else is, and no second
router decides. What a backend reads from its cache on average is in its prediction already and
is not counted twice.
"""

from typing import NamedTuple

from .prediction import CostEstimate

PREFIX_TOKENS_MIN = 1024
"""Shorter prompts are not cached: OpenAI's and Anthropic's least."""
PREFIX_LIFE_S = 300.0
"""Kept for so long after it was read last: five minutes at both, at least."""


class Prefix(NamedTuple):
    """What one backend has read of a conversation."""

    backend: str
    tokens: int
    """Of the prompt it answered last."""
    at_s: float


def is_warm(prefix: Prefix, now_s: float) -> bool:
    """Whether it is worth reckoning with."""
    return prefix.tokens >= PREFIX_TOKENS_MIN and now_s - prefix.at_s <= PREFIX_LIFE_S


def saving_usd(cost: CostEstimate, prompt_bytes: int, prefix: Prefix) -> float:
    """What the holder's answer is expected to cost less than its prediction says."""
    prompt_tokens = cost.tokens_per_byte * prompt_bytes
    held = min(float(prefix.tokens), prompt_tokens)
    return max(0.0, held - cost.cached_share * prompt_tokens) * cost.cached_spare_usd


def held_words(prefix: Prefix) -> str:
    """As a candidate's reason tells it."""
    return f"about {prefix.tokens} tokens of the prompt cached there"
