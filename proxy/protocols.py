"""A route leads to backends of one protocol: nothing is translated from one to the other.

Checked where policies and adapters are seen together, at the place of the name that does not fit.
"""

from collections.abc import Iterator, Mapping

from adapters.backend import Backend
from pointsman.decoding import Findings
from pointsman.document import ListNode, MapNode, Node, ScalarNode

_PLACES = (
    ("candidates",),
    ("on_failure",),
    ("escalate", "to"),
    ("require", "error", "reference"),
    ("confidence", "agree_with"),
    ("shadow", "backend"),
    ("canary", "backend"),
    ("canary", "replaces"),
)
"""Where a route names backends that are sent its requests; a judge is asked in its own protocol."""


def check_protocols(
    routes: Node | None, backends: Mapping[str, Backend], findings: Findings
) -> None:
    """Report every backend that a route names beside one of another protocol."""
    for name, route in routes.items.items() if isinstance(routes, MapNode) else ():
        first: Backend | None = None
        for node in _names(route):
            backend = backends.get(node.text)
            if backend is None:
                continue  # the policies have said so
            if first is None:
                first = backend
            elif backend.protocol != first.protocol:
                findings.error(
                    node.at,
                    f"route {name!r} mixes protocols: {backend.name!r} speaks {backend.protocol}, "
                    f"{first.name!r} speaks {first.protocol}; give each a route of its own",
                )


def _names(route: Node) -> Iterator[ScalarNode]:
    for place in _PLACES:
        node: Node | None = route
        for word in place:
            node = node.items.get(word) if isinstance(node, MapNode) else None
        for item in node.items if isinstance(node, ListNode) else (node,):
            if isinstance(item, ScalarNode):
                yield item
