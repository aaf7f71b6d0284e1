"""What a canary is asked to keep and can never prove, said when the file is read."""

from pointsman.decoding import Section

from .canary_run import judges_answers
from .names import Names
from .words import Route


def report_canary(route: Route, section: Section, names: Names) -> None:
    """Add a warning for everything that would have the canary wait for ever."""
    canary = route.canary
    if canary is None:
        return
    at, findings = section.at_key("canary"), section.findings
    if route.capture == "off":
        findings.warn(at, "canary: with capture: off nothing is kept that could be tested")
    if canary.keep_if.error is not None and not judges_answers(route) and route.shadow is None:
        findings.warn(
            at,
            "canary: keep_if.error: nothing on the route tells right from wrong (checks, a schema,"
            " a second opinion, a shadow): it waits for labels and feedback",
        )
    if canary.keep_if.cost is not None:
        for name in (canary.backend, canary.replaces):
            if names.backends[name].price is None:
                findings.warn(
                    at, f"canary: keep_if.cost: the price of {name!r} is unknown: it waits for ever"
                )
