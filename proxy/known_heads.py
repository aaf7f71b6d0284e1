"""Heads that were parsed and checked before, by their bytes.

A client sends the same head with every request but for the length. Where all the rest of it is
equal to the byte, what was found good then is good now; parsing it again costs 8 us. Only a
request that lies whole in one read, and a head that did so when it was first seen, count: half
a head would match what another client sends behind it.
"""

from .heads import RequestHead

LENGTH_DIGITS_MAX = 9
KNOWN_HEADS_MAX = 1024
"""Heads remembered by a worker; many more different ones than that are not worth keeping."""
_LENGTH = b"\r\nContent-Length: "
_LENGTH_LOWER = b"\r\ncontent-length: "
_NEVER_KNOWN = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection"})


Cut = tuple[bytes, int, int]
"""A head without its length, that length, and where the body begins."""


def cut(data: bytes) -> Cut | None:
    """`data` taken apart; None where it holds no whole head with a plain length."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    start = data.find(_LENGTH, 0, end)
    if start < 0 and (start := data.find(_LENGTH_LOWER, 0, end)) < 0:
        return None
    value = start + len(_LENGTH)
    stop = data.find(b"\r\n", value, end + 2)
    digits = data[value:stop]
    if not digits.isdigit() or len(digits) > LENGTH_DIGITS_MAX:
        return None
    return data[:start] + data[stop:end], int(digits), end + 4


def remember(known: dict[bytes, RequestHead], key: bytes, head: RequestHead) -> None:
    """Keep a checked head under its `key`, unless it says anything about its connection."""
    if head.is_http_10 or not head.keeps_alive:
        return
    if any(name in _NEVER_KNOWN for name in head.fields):
        return
    if len(known) >= KNOWN_HEADS_MAX:
        known.clear()
    known[key] = head
