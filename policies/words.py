"""The words of the policy language as frozen types: what `checks:` and `routes:` decode into.

Spans are seconds, money US dollars, shares and quantiles 0..1. A field that is `None` was not
written and has no default.
"""

from typing import Literal

import msgspec

from .schema_check import SchemaCheck

Clock = Literal["total", "first_token"]
Preference = Literal["cheapest", "fastest", "surest", "weighted"]
IfNone = Literal["surest", "cheapest", "fastest", "reject"]
Signal = Literal["checks", "schema", "logprobs", "agreement"]
Hold = Literal["none", "all"] | int
CaptureLevel = Literal["full", "metadata", "off"]
Sticky = Literal["none", "conversation"]
CanaryEnd = Literal["promote", "hold"]

ACCEPT_DEFAULT = 0.5
"""Between what a failed check (0) and a passed one (1) gives: checks alone need no number."""
TOTAL_DEFAULT_S = 300.0  # a reasoning model may think for minutes; undici gives up at 300 s
FIRST_TOKEN_DEFAULT_S = 120.0
SHADOW_BUDGET_USD = 10.0
"""A day: a share of a busy route may cost more than its operator had in mind."""
IDLE_DEFAULT_S = 60.0  # between two tokens; FAULTS names nginx's 60 s as the precedent


class Match(msgspec.Struct, frozen=True):
    """Which requests: any of `models`, and for every label any of its patterns (globs).

    Empty `models` means that any model name fits.
    """

    models: tuple[str, ...] = ()
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()


class LatencyLimit(msgspec.Struct, frozen=True):
    """P(T <= budget_s) must reach `quantile`."""

    quantile: float
    budget_s: float
    of: Clock = "total"


class ErrorLimit(msgspec.Struct, frozen=True):
    """The share of wrong answers of the whole route, promised at `confidence`."""

    max: float
    confidence: float
    reference: str
    gain: float | None = None
    """Set by a certified lock: requests that the reference is likelier by this to answer well
    go to it at once, and so do those of which nothing is known."""


class CostLimit(msgspec.Struct, frozen=True):
    """The expected cost of one request."""

    max_usd: float


class Require(msgspec.Struct, frozen=True):
    """The limits a candidate must meet."""

    latency: LatencyLimit | None = None
    error: ErrorLimit | None = None
    cost: CostLimit | None = None


class Weights(msgspec.Struct, frozen=True):
    """Dollars that one wrong and one late answer are worth (`prefer: weighted`)."""

    error_usd: float = 0.0
    late_usd: float = 0.0


class ConfidenceRule(msgspec.Struct, frozen=True):
    """What tells how far an answer is trusted, and from where on it is accepted."""

    signals: tuple[Signal, ...] = ("checks", "schema")
    accept: float | Literal["calibrated"] = ACCEPT_DEFAULT
    agree_with: str | None = None
    judge: str | None = None
    model: str | None = None
    """Set with `accept` by a certified lock: the model whose confidences its threshold is of,
    empty for none. An answer that nothing is known of is not accepted then."""


class Escalate(msgspec.Struct, frozen=True):
    """Where an answer below `accept` goes next, in order."""

    to: tuple[str, ...]
    max_steps: int = 1
    within_s: float | None = None
    """Since the request's arrival, the last escalation's end included."""


class Timeout(msgspec.Struct, frozen=True):
    """`total_s` since arrival, `first_token_s` of one attempt, `idle_s` between two tokens."""

    total_s: float = TOTAL_DEFAULT_S
    first_token_s: float = FIRST_TOKEN_DEFAULT_S
    idle_s: float = IDLE_DEFAULT_S


class Hedge(msgspec.Struct, frozen=True):
    """A second copy after a quantile of the backend's own latency, or after a fixed span."""

    max_extra_cost: float
    after_quantile: float | None = None
    after_s: float | None = None


class Explore(msgspec.Struct, frozen=True):
    """Share of requests that draw uniformly among the eligible candidates."""

    share: float


class Shadow(msgspec.Struct, frozen=True):
    """Share of answered requests shown to `backend` as well; its answer reaches nobody."""

    backend: str
    share: float
    budget_usd: float = SHADOW_BUDGET_USD
    """A day, all workers together."""


class KeepIf(msgspec.Struct, frozen=True):
    """What a canary must keep, against the backend it replaces."""

    error: float | None = None
    """Difference of error shares; +0.005 is half a percentage point."""
    latency_quantile: float | None = None
    latency_s: float | None = None
    cost: float | None = None
    """Relative difference of cost; +0.03 is 3 % dearer."""


class Canary(msgspec.Struct, frozen=True):
    """A new backend's way in. A stage is `shadow` or a share of the traffic."""

    backend: str
    replaces: str
    stages: tuple[float | Literal["shadow"], ...]
    keep_if: KeepIf
    min_samples: int
    then: CanaryEnd


class Check(msgspec.Struct, frozen=True):
    """One plausibility rule over the value at a JSON pointer of the answer."""

    name: str
    at: str = ""
    """RFC 6901; empty is the whole answer."""
    schema: SchemaCheck | None = None
    in_prompt: bool = False
    """The value must be found in what was asked."""


class ProbeWorld(msgspec.Struct, frozen=True):
    """The state a probe is run in; what is not stated is unknown."""

    certified: bool = False
    tokens: dict[str, float] = {}
    """Output tokens per answer, by backend."""
    latency_s: dict[str, float] = {}
    first_token_s: dict[str, float] = {}
    in_flight: dict[str, int] = {}
    unavailable: tuple[str, ...] = ()


class ProbeExpectation(msgspec.Struct, frozen=True):
    """What a probe must end in; `None` is not asked."""

    backend: str | None = None
    rejected: bool | None = None


class Probe(msgspec.Struct, frozen=True):
    """An example kept with its route: this request, in this world, goes there."""

    file: str
    line: int
    column: int
    prompt: str
    model: str | None
    labels: dict[str, str]
    max_tokens: int | None
    world: ProbeWorld
    expect: ProbeExpectation


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One route, complete: defaults are filled in, names resolved."""

    name: str
    match: Match | None = None
    """None: reached by its own name only."""
    candidates: tuple[str, ...]
    require: Require = Require()
    prefer: Preference = "cheapest"
    weights: Weights | None = None
    if_none: IfNone = "surest"
    confidence: ConfidenceRule | None = None
    """None: no answer of this route is judged."""
    checks: tuple[Check, ...] = ()
    escalate: Escalate | None = None
    hold: Hold = "none"
    on_failure: tuple[str, ...] = ()
    timeout: Timeout = Timeout()
    hedge: Hedge | None = None
    explore: Explore | None = None
    shadow: Shadow | None = None
    canary: Canary | None = None
    sticky: Sticky = "none"
    capture: CaptureLevel = "full"
    redact: bool = False
    probes: tuple[Probe, ...] = ()
