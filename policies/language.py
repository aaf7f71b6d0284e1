"""The policy language: `checks:` and `routes:` of the file, read into a `Policy`.

This module is the room's front door: it reads the sections, holds the routes against each
other, and gives the names of the types.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from pointsman.decoding import Findings, Section
from pointsman.document import Node, Position

from .check_decoder import decode_checks
from .facts import BackendFacts, Expect
from .impossible import report_impossible
from .matching import covering
from .names import Names
from .policy import DEFAULT, Policy
from .route_decoder import decode_route
from .route_match import RouteMatch
from .words import Check, Match, Route

__all__ = [
    "BackendFacts",
    "Check",
    "Expect",
    "Policy",
    "Route",
    "RouteMatch",
    "load_policy",
]

ROUTES_MAX = 1000


def load_policy(
    checks: Node | None,
    routes: Node | None,
    backends: Mapping[str, BackendFacts],
    *,
    findings: Findings,
    file: str,
) -> Policy | None:
    """Read both sections. None where they have an error; every finding is in `findings`."""
    before = len(findings.errors)
    known_checks = decode_checks(checks, findings)
    if routes is None:
        findings.error(Position(file, 1, 1), "routes: missing; a default route is needed")
        return None
    section = Section(routes, findings, "routes")
    names = Names(backends, known_checks, findings)
    decoded = [_decode(section, name, names) for name in section.keys()[:ROUTES_MAX]]
    _report_count(section)
    _report_unreachable(section, [route for route in decoded if route is not None])
    if len(findings.errors) > before:
        return None
    policy = Policy([route for route in decoded if route is not None], backends, known_checks)
    report_impossible(section, policy)
    return policy if len(findings.errors) == before else None


def _decode(section: Section, name: str, names: Names) -> Route | None:
    inner = section.subsection(name, f"route {name!r}")
    assert inner is not None  # the key is there
    return decode_route(name, inner, names)


def _report_count(section: Section) -> None:
    count = len(section.keys())
    if DEFAULT not in section:
        likely = get_close_matches(DEFAULT, section.keys(), n=1)
        hint = f"; is {likely[0]!r} meant to be it?" if likely else ""
        section.findings.error(section.at, f"routes needs 'default'{hint}")
    if count > ROUTES_MAX:
        section.findings.error(section.at, f"{count} routes; {ROUTES_MAX} is the most")


def _report_unreachable(section: Section, routes: Sequence[Route]) -> None:
    """Refuse every route whose match is taken whole by routes before it."""
    by_name = [(route.name, Match(models=(route.name,))) for route in routes]
    earlier: list[tuple[str, Match]] = []
    for route in routes:
        if route.match is None:
            continue
        others = [taken for taken in by_name if taken[0] != route.name]
        takers = covering(others + earlier, route.match)
        if takers is not None:
            section.findings.error(
                section.at_key(route.name),
                f"route {route.name!r} can never match: {_described(section, takers)} "
                "all that it would",
            )
        earlier.append((route.name, route.match))


def _described(section: Section, takers: Sequence[str]) -> str:
    words = [f"{name!r} (line {section.at_key(name).line})" for name in takers]
    return f"{' and '.join(words)} {'takes' if len(words) == 1 else 'take'}"
