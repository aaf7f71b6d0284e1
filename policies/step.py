"""What an attempt came to, and what may come next, as types; steps.py decides between them."""

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

AsideKind = Literal["agreement", "judge"]
"""Calls about an answer: another one to compare it with, a word on how good it is."""
Refusal = Literal["context_window", "content_filter"]
"""Why a backend would not take a request that another one may."""

StepKind = Literal["retry", "fallback", "escalation"]
OutcomeKind = Literal["primary", "hedge", "retry", "fallback", "escalation", "shadow"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended. `failure` None is a whole answer."""

    backend: str
    kind: OutcomeKind | AsideKind = "primary"
    failure: str | None = None
    """`status` for an HTTP error, else the kind of the upstream error (`timeout`, `reset`...)."""
    http_status: int | None = None
    retryable: bool = False
    retry_after_s: float | None = None
    confidence: float | None = None
    refusal: Refusal | None = None
    is_visible: bool = False
    """Some of it has reached the client: nothing may follow."""


class Upstream(msgspec.Struct, frozen=True):
    """How the backends stand at the moment of the question."""

    unavailable: Mapping[str, str] = {}
    """Not to be asked while a route has another one, with the reason."""
    unaffordable: Collection[str] = ()
    """Known to fail, and the retry budget is spent: not to be asked again whatever comes."""


ALL_WELL = Upstream()


class Accept(msgspec.Struct, frozen=True):
    """Hand the client the answer of `outcomes[index]`."""

    index: int
    reason: str = ""


class Ask(msgspec.Struct, frozen=True):
    """Make another attempt, `delay_s` from now."""

    backend: str
    kind: StepKind
    delay_s: float
    reason: str
    time_left_s: float
    """What this attempt may take, its delay not included."""


class GiveUp(msgspec.Struct, frozen=True):
    """Tell the client of the failure of `outcomes[index]`."""

    index: int
    reason: str
    is_broke: bool = False
    """Another attempt might have helped; the retry budget did not allow it."""


Step = Accept | Ask | GiveUp
