"""Words of one route that do not go together, reported where the later one stands.

Errors are combinations that cannot mean anything; warnings, those that mean less than they say.
"""

from pointsman.decoding import Section

from .canary_warnings import report_canary
from .names import Names
from .steps import ATTEMPTS_MAX
from .words import ConfidenceRule, Route


def report_contradictions(route: Route, section: Section, names: Names) -> None:
    """Add what is contradictory in a route whose words are each right by themselves."""
    _report_preference(route, section)
    _report_confidence(route, section, names)
    _report_escalation(route, section)
    _report_holding(route, section)
    _report_failure(route, section)
    _report_shadow(route, section, names)
    _report_times(route, section)
    _report_chances(route, section)
    report_canary(route, section, names)
    if route.redact and route.capture != "full":
        section.findings.warn(
            section.at_key("redact"), f"redact: capture: {route.capture} keeps no body to mask"
        )


def _report_preference(route: Route, section: Section) -> None:
    findings = section.findings
    if route.prefer == "weighted" and route.weights is None:
        findings.error(section.at_key("prefer"), "prefer: weighted needs weights: {error: $0.05}")
    if route.weights is not None and route.prefer != "weighted":
        findings.error(section.at_key("weights"), "weights count only with prefer: weighted")
    require = route.require
    is_limited = require.latency or require.cost or require.error
    if "if_none" in section and not is_limited:
        findings.warn(section.at_key("if_none"), "if_none never applies: nothing is required")


def _report_confidence(route: Route, section: Section, names: Names) -> None:
    rule = route.confidence
    if rule is None:
        return
    at, findings = section.at_key("confidence"), section.findings
    if rule.accept == "calibrated" and route.require.error is None:
        findings.error(
            at, "accept: calibrated needs require.error, the promise it is calibrated to"
        )
    if ("agreement" in rule.signals) != (rule.agree_with is not None):
        findings.error(at, "agreement (in from) and agree_with: BACKEND need each other")
    if route.checks and "checks" not in rule.signals:
        findings.error(
            section.at_key("checks"), "checks are listed, but confidence.from leaves them out"
        )
    _warn_of_silent_signals(route, rule, section, names)


def _warn_of_silent_signals(
    route: Route, rule: ConfidenceRule, section: Section, names: Names
) -> None:
    at, findings = section.at_key("confidence"), section.findings
    if "confidence" in section and rule.signals == ("checks",) and not route.checks:
        findings.warn(at, "confidence is from checks, but the route lists none: always unknown")
    if "logprobs" in rule.signals and not any(
        names.backends[name].has_logprobs for name in route.candidates
    ):
        findings.warn(
            at, "no candidate has logprobs: true; its confidence will not be known from them"
        )


def _report_escalation(route: Route, section: Section) -> None:
    escalate = route.escalate
    if escalate is None:
        return
    at, findings = section.at_key("escalate"), section.findings
    if len(route.candidates) == 1 and escalate.to == route.candidates:
        findings.error(at, f"escalate.to: {escalate.to[0]!r} is who answered in the first place")
    if escalate.within_s is not None and escalate.within_s > route.timeout.total_s:
        findings.error(
            at,
            f"escalate.within: {escalate.within_s:g} s is longer than timeout.total: "
            f"{route.timeout.total_s:g} s",
        )
    if escalate.max_steps > ATTEMPTS_MAX - 1:
        findings.warn(at, f"max_steps: a request makes {ATTEMPTS_MAX} attempts at most")
    if route.hold == "none":
        findings.warn(
            section.at_key("hold"), "hold: none: a stream is gone before it can be escalated"
        )


def _report_holding(route: Route, section: Section) -> None:
    findings, rule, latency = section.findings, route.confidence, route.require.latency
    at = section.at_key("hold" if "hold" in section else "escalate")
    if route.hold == "all" and latency is not None and latency.of == "first_token":
        findings.warn(
            at,
            "hold: all meets latency of: first_token: of a stream nothing is shown before all of it"
            " is there; write hold: 20, or of: total",
        )
    if isinstance(route.hold, int) and rule is None:
        findings.warn(at, "hold: tokens wait for a confidence, but the route has none")
    elif isinstance(route.hold, int) and rule is not None and "logprobs" not in rule.signals:
        findings.warn(at, "hold: of the first tokens only logprobs tell; confidence.from has none")
    asks = rule is not None and (rule.agree_with is not None or rule.judge is not None)
    if asks and route.hold != "all":
        findings.warn(
            section.at_key("confidence"),
            "agree_with and judge see whole answers: of streams only those under hold: all",
        )


def _report_failure(route: Route, section: Section) -> None:
    if len(route.candidates) == 1 and route.on_failure == route.candidates:
        section.findings.warn(
            section.at_key("on_failure"), "on_failure names only the candidate that failed"
        )


def _report_shadow(route: Route, section: Section, names: Names) -> None:
    shadow, findings = route.shadow, section.findings
    inner = section.subsection("shadow")
    if shadow is None or inner is None:
        return
    if route.capture == "off":
        findings.error(inner.at, "shadow: with capture: off nothing may be kept of it")
    if names.backends[shadow.backend].price is None:
        if "budget" in inner:
            findings.error(
                inner.at_key("budget"),
                f"budget: the price of {shadow.backend!r} is not known; give it a price:",
            )
        else:
            findings.warn(
                inner.at,
                f"shadow: the price of {shadow.backend!r} is not known; no budget can be held",
            )
    if route.candidates == (shadow.backend,):
        findings.warn(inner.at, f"shadow: {shadow.backend!r} answers every request itself")


def _report_times(route: Route, section: Section) -> None:
    findings, timeout = section.findings, route.timeout
    latency, hedge = route.require.latency, route.hedge
    if latency is not None and latency.budget_s > timeout.total_s:
        findings.warn(
            section.at_key("require"),
            f"latency: {latency.budget_s:g} s is longer than timeout.total: {timeout.total_s:g} s;"
            " what is late fails first",
        )
    if hedge is not None and hedge.after_s is not None and hedge.after_s >= timeout.first_token_s:
        findings.error(
            section.at_key("hedge"),
            f"hedge.after: at {hedge.after_s:g} s timeout.first_token: {timeout.first_token_s:g} s"
            " has ended the first attempt; no second one is ever sent",
        )


def _report_chances(route: Route, section: Section) -> None:
    findings, weights = section.findings, route.weights
    if route.explore is not None and len(route.candidates) == 1:
        findings.warn(section.at_key("explore"), "explore: there is only one candidate to draw")
    if weights is not None and weights.late_usd and route.require.latency is None:
        findings.warn(
            section.at_key("weights"),
            "weights.late weighs nothing: no require.latency says what late is",
        )
