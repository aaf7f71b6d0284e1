"""One entry of `routes:` -> a complete `Route`, or None with the reasons among the findings."""

from typing import Literal

from pointsman import decoding
from pointsman.decoding import Section
from pointsman.document import Node, ScalarNode

from .canary_decoder import decode_canary
from .clause_decoder import (
    decode_confidence,
    decode_escalate,
    decode_explore,
    decode_hedge,
    decode_match,
    decode_require,
    decode_shadow,
    decode_timeout,
    decode_weights,
)
from .contradictions import report_contradictions
from .names import NAME, Names, one_of, read_list, require_some
from .probe_decoder import decode_probes
from .unbuilt import note_use
from .words import (
    ACCEPT_DEFAULT,
    CaptureLevel,
    ConfidenceRule,
    Hold,
    IfNone,
    Preference,
    Require,
    Route,
    Sticky,
    Timeout,
)

_PREFERENCES: tuple[Preference, ...] = ("cheapest", "fastest", "surest", "weighted")
_IF_NONE: tuple[IfNone, ...] = ("surest", "cheapest", "fastest", "reject")
_HOLDS: tuple[Literal["none", "all"], ...] = ("none", "all")
_STICKY: tuple[Sticky, ...] = ("none", "conversation")
_CAPTURE: tuple[CaptureLevel, ...] = ("full", "metadata", "off")


def decode_route(name: str, section: Section, names: Names) -> Route | None:
    """Read one route. None where it has an error."""
    before = len(names.findings.errors)
    if not NAME.fullmatch(name):
        names.findings.error(
            section.at, f"route name {name!r}: use up to 64 of A-Z a-z 0-9 . _ / - (it is a header)"
        )
    route = _read(name, section, names)
    section.done()
    _note_unbuilt(section, route)
    if len(names.findings.errors) == before:
        report_contradictions(route, section, names)
    return route if len(names.findings.errors) == before else None


def _read(name: str, section: Section, names: Names) -> Route:
    section.require("candidates")
    candidates = read_list(section, "candidates", names.backend)
    require_some(section, "candidates", candidates)
    clause = section.subsection
    match, require, timeout = clause("match"), clause("require"), clause("timeout")
    weights, escalate = clause("weights"), clause("escalate")
    hedge, explore = clause("hedge"), clause("explore")
    shadow, canary = clause("shadow"), clause("canary")
    checks = read_list(section, "checks", names.check)
    return Route(
        name=name,
        match=decode_match(match) if match is not None else None,
        candidates=candidates,
        require=decode_require(require, names) if require is not None else Require(),
        prefer=section.read("prefer", one_of(_PREFERENCES), "cheapest"),
        weights=decode_weights(weights) if weights is not None else None,
        if_none=section.read("if_none", one_of(_IF_NONE), "surest"),
        confidence=_read_confidence(section, names),
        checks=tuple(names.checks[check] for check in checks),
        escalate=decode_escalate(escalate, names) if escalate is not None else None,
        hold=section.read("hold", _hold, "all" if escalate is not None else "none"),
        on_failure=read_list(section, "on_failure", names.backend),
        timeout=decode_timeout(timeout) if timeout is not None else Timeout(),
        hedge=decode_hedge(hedge) if hedge is not None else None,
        explore=decode_explore(explore) if explore is not None else None,
        shadow=decode_shadow(shadow, names) if shadow is not None else None,
        canary=decode_canary(canary, names, candidates) if canary is not None else None,
        sticky=section.read("sticky", one_of(_STICKY), "none"),
        capture=section.read("capture", one_of(_CAPTURE), "full"),
        redact=section.read("redact", decoding.boolean, False),
        probes=decode_probes(section.node("probes"), names, name),
    )


def _read_confidence(section: Section, names: Names) -> ConfidenceRule | None:
    """`confidence:`; where only `checks` or `escalate` stand, checks and schema decide."""
    inner = section.subsection("confidence")
    if inner is not None:
        return decode_confidence(inner, names, default=ACCEPT_DEFAULT)
    return ConfidenceRule() if "checks" in section or "escalate" in section else None


def _note_unbuilt(section: Section, route: Route) -> None:
    """Warn of the route's own words that have no effect yet; clauses warn of theirs."""
    for word in ("weights", "hedge", "explore", "shadow", "canary"):
        if word in section:
            note_use(section.findings, section.at_key(word), word)
    uses = {
        "prefer": f"prefer: {route.prefer}",
        "sticky": f"sticky: {route.sticky}",
        "redact": f"redact: {str(route.redact).lower()}",
        "hold": "hold: tokens" if isinstance(route.hold, int) else "",
    }
    for key, word in uses.items():
        if key in section:
            note_use(section.findings, section.at_key(key), word)


def _hold(node: Node) -> Hold:
    """`none`, `all`, or how many tokens wait for their confidence."""
    if isinstance(node, ScalarNode) and isinstance(node.value, int):
        return decoding.integer(1)(node)
    return one_of(_HOLDS)(node)
