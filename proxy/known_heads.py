"""Heads of requests that were parsed and checked before: parsing one again costs 8 us.

What makes a head known stands in `adapters.known_head`.
"""

from adapters.known_head import is_one_head

from .heads import RequestHead

KNOWN_HEADS_MAX = 1024
"""Heads remembered by a worker; many more different ones than that are not worth keeping."""
_NEVER_KNOWN = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection"})


def remember(known: dict[bytes, RequestHead], key: bytes, head: RequestHead) -> None:
    """Keep a checked head under its `key`, unless it says anything about its connection."""
    if head.is_http_10 or not head.keeps_alive or not is_one_head(key):
        return
    if any(name in _NEVER_KNOWN for name in head.fields):
        return
    if len(known) >= KNOWN_HEADS_MAX:
        known.clear()
    known[key] = head
