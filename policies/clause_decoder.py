"""The clauses of a route: `require`, `confidence`, `escalate`, `timeout` and their like.

Each function reads one nested mapping into its frozen type, or reports what is wrong with it
and returns None. How the clauses go together is for `contradictions` to say.
"""

import re
from typing import Literal

from pointsman import decoding, units
from pointsman.decoding import Section
from pointsman.document import ListNode, Node

from .names import Names, one_of, read_list, require_some
from .unbuilt import note_use
from .words import (
    FIRST_TOKEN_DEFAULT_S,
    IDLE_DEFAULT_S,
    SHADOW_BUDGET_USD,
    TOTAL_DEFAULT_S,
    Clock,
    ConfidenceRule,
    CostLimit,
    ErrorLimit,
    Escalate,
    Explore,
    Hedge,
    LatencyLimit,
    Match,
    Require,
    Shadow,
    Signal,
    Timeout,
    Weights,
)

_QUANTILE = re.compile(r"p\d+(\.\d+)?")
_SIGNALS: tuple[Signal, ...] = ("checks", "schema", "logprobs", "agreement")
_CLOCKS: tuple[Clock, ...] = ("total", "first_token")
FIRST_TOKEN_MAX_S = 300.0
"""Common HTTP clients wait no longer for the head of an answer."""


def decode_match(section: Section) -> Match | None:
    """`match:`; an empty one would take everything unsaid and is refused."""
    models = read_list(section, "model", decoding.text)
    require_some(section, "model", models)
    inner = section.subsection("labels")
    labels = _decode_labels(inner) if inner is not None else ()
    section.done()
    if "model" not in section and not labels:
        section.findings.error(
            section.at, f"{section.what} names nothing; write model: '*' to take every model"
        )
    return Match(models, labels)


def _decode_labels(section: Section) -> tuple[tuple[str, tuple[str, ...]], ...]:
    labels = []
    given = section.keys()
    for name in given:
        values = read_list(section, name, decoding.text)
        require_some(section, name, values)
        labels.append((name.lower(), values))
    return tuple(labels)


# -- require -------------------------------------------------------------------------------------


def decode_require(section: Section, names: Names) -> Require:
    """`require:`, any of latency, error, cost."""
    latency = section.subsection("latency")
    error = section.subsection("error")
    cost = section.subsection("cost")
    section.done()
    if error is not None:
        note_use(section.findings, section.at_key("error"), "require.error")
    return Require(
        latency=_decode_latency(latency) if latency is not None else None,
        error=_decode_error(error, names) if error is not None else None,
        cost=_decode_cost(cost) if cost is not None else None,
    )


def _decode_latency(section: Section) -> LatencyLimit | None:
    found = read_quantiles(section)
    written = [key for key in section if _QUANTILE.fullmatch(key)]
    of = section.read("of", one_of(_CLOCKS), _CLOCKS[0])
    section.done()
    if len(written) == 1 and not found:
        return None  # what is wrong with it was said
    if len(found) != 1:
        section.findings.error(
            section.at, f"{section.what} needs one limit such as p90: 200ms, not {len(found)}"
        )
        return None
    quantile, budget_s = found[0]
    return LatencyLimit(quantile, budget_s, of)


def read_quantiles(section: Section) -> list[tuple[float, float]]:
    """Every `pNN: DURATION` of a mapping, as (share, seconds); durations above zero."""
    found = []
    for key in filter(_QUANTILE.fullmatch, section.keys()):
        span_s = section.read(key, positive_s)
        try:
            quantile = units.quantile(key)
        except ValueError as error:
            section.findings.error(section.at_key(key), str(error))
            continue
        if span_s is not None:
            found.append((quantile, span_s))
    return found


def _decode_error(section: Section, names: Names) -> ErrorLimit | None:
    section.require("max", "reference")
    limit = section.read("max", _open_share)
    confidence = section.read("confidence", _open_share, 0.95)
    reference = section.read("reference", names.backend)
    section.done()
    if limit is None or reference is None:
        return None
    return ErrorLimit(limit, confidence, reference)


def _decode_cost(section: Section) -> CostLimit | None:
    section.require("max")
    limit = section.read("max", decoding.money_usd)
    section.done()
    return None if limit is None else CostLimit(limit)


# -- what happens after an answer ----------------------------------------------------------------


def decode_confidence(section: Section, names: Names, *, default: float) -> ConfidenceRule:
    """`confidence:`; `default` is `accept` where it is not written."""
    words = read_list(section, "from", decoding.choice(*_SIGNALS))
    require_some(section, "from", words)
    signals = tuple(signal for signal in _SIGNALS if signal in words)
    agree_with = section.read("agree_with", names.backend)
    judge = section.read("judge", names.backend)
    accept = section.read("accept", _accept, default)
    section.done()
    for word in ("agree_with", "judge"):
        if word in section:
            note_use(section.findings, section.at_key(word), word)
    if "agreement" in words:
        note_use(section.findings, section.at_key("from"), "agreement")
    if accept == "calibrated":
        note_use(section.findings, section.at_key("accept"), "accept: calibrated")
    kept = signals if "from" in section else ConfidenceRule().signals
    return ConfidenceRule(kept, accept, agree_with, judge)


def _accept(node: Node) -> float | Literal["calibrated"]:
    if decoding.text(node) == "calibrated":
        return "calibrated"
    try:
        return decoding.number(0, 1)(node)
    except ValueError as error:
        raise ValueError(f"{error}; write a number from 0 to 1, or calibrated") from None


def decode_escalate(section: Section, names: Names) -> Escalate:
    """`escalate:`"""
    section.require("to")
    to = read_list(section, "to", names.backend)
    require_some(section, "to", to)
    max_steps = section.read("max_steps", decoding.integer(1, 10), 1)
    within_s = section.read("within", positive_s)
    section.done()
    return Escalate(to, max_steps, within_s)


# -- times and shares ----------------------------------------------------------------------------


def decode_timeout(section: Section) -> Timeout:
    """`timeout:`; what is left out is the default, cut to `total`."""
    total_s = section.read("total", positive_s, TOTAL_DEFAULT_S)
    first_s = section.read("first_token", positive_s, min(FIRST_TOKEN_DEFAULT_S, total_s))
    idle_s = section.read("idle", positive_s, min(IDLE_DEFAULT_S, total_s))
    section.done()
    if first_s >= FIRST_TOKEN_MAX_S:
        section.findings.error(
            section.at_key("first_token"),
            "first_token: clients give up at 300 s; write less than that",
        )
    if first_s > total_s:
        section.findings.error(
            section.at_key("first_token"),
            f"first_token: {first_s:g} s is longer than total: {total_s:g} s",
        )
    return Timeout(total_s, first_s, idle_s)


def decode_hedge(section: Section) -> Hedge | None:
    """`hedge:`"""
    section.require("after", "max_extra_cost")
    after = section.read("after", _quantile_or_span)
    max_extra_cost = section.read("max_extra_cost", decoding.share)
    section.done()
    if after is None or max_extra_cost is None:
        return None
    return Hedge(max_extra_cost, after_quantile=after[0], after_s=after[1])


def decode_explore(section: Section) -> Explore | None:
    """`explore:`; a share too small to judge a policy by is warned about."""
    section.require("share")
    share = section.read("share", decoding.share)
    section.done()
    if share is None:
        return None
    if 0 < share < 0.02:
        section.findings.warn(
            section.at_key("share"),
            "share: below 2% too few requests explore; intervals from the log come out too narrow",
        )
    return Explore(share)


def decode_shadow(section: Section, names: Names) -> Shadow | None:
    """`shadow:`"""
    section.require("backend", "share")
    backend = section.read("backend", names.backend)
    share = section.read("share", decoding.share)
    budget_usd = section.read("budget", decoding.money_usd, SHADOW_BUDGET_USD)
    section.done()
    return None if backend is None or share is None else Shadow(backend, share, budget_usd)


def decode_weights(section: Section) -> Weights:
    """`weights:`, dollars per wrong and per late answer."""
    error_usd = section.read("error", decoding.money_usd, 0.0)
    late_usd = section.read("late", decoding.money_usd, 0.0)
    section.done()
    if not error_usd and not late_usd:
        section.findings.error(section.at, f"{section.what} weigh nothing; write error: $0.05")
    return Weights(error_usd, late_usd)


def positive_s(node: Node) -> float:
    """A duration above zero, in seconds."""
    span_s = decoding.duration_s(node)
    if span_s <= 0:
        raise ValueError(f"{decoding.text(node)!r} is no time at all")
    return span_s


def _open_share(node: Node) -> float:
    share = decoding.share(node)
    if not 0 < share < 1:
        raise ValueError("must lie between 0% and 100%, both left out: neither can be shown")
    return share


def _quantile_or_span(node: Node) -> tuple[float | None, float | None]:
    if isinstance(node, ListNode):
        raise ValueError("expected a quantile or a duration, not a list")
    word = decoding.text(node)
    if _QUANTILE.fullmatch(word):
        return units.quantile(word), None
    return None, positive_s(node)
