"""How many tokens an answer will take: seen so far, else as stated, else assumed.

Assumed tokens rank and are shown, but they exclude nobody: where neither samples nor
`expect.completion_tokens` tell the length of an answer, a limit counts as missed only if even
a short answer would miss it. Otherwise a backend with a tight budget would never be asked, and
so never be measured.
"""

import msgspec

from .facts import BackendFacts
from .inquiry import Cells, Inquiry, measured_mean

TOKENS_PER_BYTE_PRIOR = 0.25
COMPLETION_TOKENS_PRIOR = 256.0
"""A middling chat answer."""
REASONING_TOKENS_PRIOR = 1024.0
"""On top of it, for a backend that thinks in tokens."""
SHORT_ANSWER_TOKENS = 8.0
"""One extracted value: the shortest answer worth asking for."""


class TokenEstimate(msgspec.Struct, frozen=True):
    """Expected tokens of one request."""

    output: float
    """Of the whole answer, reasoning included."""
    output_least: float
    """As `output` where that is measured or stated, else of a short answer."""
    is_measured: bool
    is_assumed: bool
    """Neither measured nor stated."""
    per_byte: float
    """Prompt tokens per prompt byte."""
    cached_share: float
    """Of the prompt tokens, those read from the backend's cache."""


def estimate_tokens(facts: BackendFacts, inquiry: Inquiry, cells: Cells) -> TokenEstimate:
    """The tokens one answer of a backend is expected to take."""
    measured = measured_mean(cells, lambda cell: cell.output)
    stated = facts.expect.completion_tokens if facts.expect is not None else None
    known = measured if measured is not None else stated
    assumed = COMPLETION_TOKENS_PRIOR + (REASONING_TOKENS_PRIOR if facts.is_reasoning else 0.0)
    per_byte = measured_mean(cells, lambda cell: cell.tokens_per_byte)
    limit = inquiry.output_max
    return TokenEstimate(
        output=capped(assumed if known is None else known, limit),
        output_least=capped(SHORT_ANSWER_TOKENS if known is None else known, limit),
        is_measured=measured is not None,
        is_assumed=known is None,
        per_byte=TOKENS_PER_BYTE_PRIOR if per_byte is None else per_byte,
        cached_share=measured_mean(cells, lambda cell: cell.cached) or 0.0,
    )


def capped(tokens: float, limit: int | None) -> float:
    """`tokens`, or the client's own limit where that is lower."""
    return tokens if limit is None else min(tokens, limit)
