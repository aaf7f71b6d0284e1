"""`probes:` -> examples kept with their route."""

from collections.abc import Callable
from typing import TypeVar

from pointsman import decoding
from pointsman.decoding import Section
from pointsman.document import ListNode, Node

from .clause_decoder import positive_s
from .names import Names, read_list
from .words import Probe, ProbeExpectation, ProbeWorld

T = TypeVar("T")


def decode_probes(node: Node | None, names: Names, route: str) -> tuple[Probe, ...]:
    """Every probe of a route."""
    if node is None:
        return ()
    if not isinstance(node, ListNode):
        names.findings.error(node.at, f"probes: expected a list, not {decoding.describe(node)}")
        return ()
    what = f"probe {{}} of route {route!r}"
    return tuple(
        _decode_probe(Section(item, names.findings, what.format(number)), names)
        for number, item in enumerate(node.items, 1)
    )


def _decode_probe(section: Section, names: Names) -> Probe:
    section.require("prompt", "expect")
    world = section.subsection("world")
    expect = section.subsection("expect")
    labels = section.subsection("labels")
    probe = Probe(
        file=section.at.file,
        line=section.at.line,
        column=section.at.column,
        prompt=section.read("prompt", decoding.text, ""),
        model=section.read("model", decoding.text),
        labels=_decode_labels(labels) if labels is not None else {},
        max_tokens=section.read("max_tokens", decoding.integer(1)),
        world=_decode_world(world, names) if world is not None else ProbeWorld(),
        expect=_decode_expectation(expect, names) if expect is not None else ProbeExpectation(),
    )
    section.done()
    return probe


def _decode_labels(section: Section) -> dict[str, str]:
    given = section.keys()
    return {name.lower(): section.read(name, decoding.text, "") for name in given}


def _decode_world(section: Section, names: Names) -> ProbeWorld:
    world = ProbeWorld(
        certified=section.read("certified", decoding.boolean, False),
        tokens=_by_backend(section, "tokens", names, decoding.number(0)),
        latency_s=_by_backend(section, "latency", names, positive_s),
        first_token_s=_by_backend(section, "first_token", names, positive_s),
        in_flight=_by_backend(section, "in_flight", names, decoding.integer(0)),
        unavailable=read_list(section, "unavailable", names.backend),
    )
    section.done()
    return world


def _by_backend(
    section: Section, key: str, names: Names, decode: Callable[[Node], T]
) -> dict[str, T]:
    inner = section.subsection(key)
    if inner is None:
        return {}
    found = {}
    given = inner.keys()
    for name in given:
        value = inner.read(name, decode)
        if name not in names.backends:
            hint = decoding.nearest(name, sorted(names.backends))
            names.findings.error(inner.at_key(name), f"{key}: no backend {name!r}{hint}")
        elif value is not None:
            found[name] = value
    return found


def _decode_expectation(section: Section, names: Names) -> ProbeExpectation:
    backend = section.read("backend", names.backend)
    rejected = section.read("rejected", decoding.boolean)
    section.done()
    if ("backend" in section) == ("rejected" in section):
        section.findings.error(
            section.at, f"{section.what} needs either backend: NAME or rejected: true"
        )
    return ProbeExpectation(backend, rejected)
