"""Requests that are passed through: which there are, where they go, and under what path.

    /v1/responses/ID, .../cancel, .../input_items   to the backend that made ID
    whatever `passthrough:` lists                   to the backend it names

The path that goes upstream is put together from pieces that were taken apart and checked; what
the client wrote is never copied into a request line.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from .heads import RequestHead
from .listening import Passthrough

RESPONSES_PREFIX = b"/v1/responses/"
_BY_ID = {(): b"GET, DELETE", (b"cancel",): b"POST", (b"input_items",): b"GET"}
"""What may follow a response's id, and the methods served there."""
_KEPT = ":@!$&'()*+,;=~"
"""Beside letters, digits and `-._`, what RFC 3986 lets stand in a path segment as it is."""
_REFUSED = frozenset(b"/\\") | frozenset(range(0x20)) | {0x7F}


class Passage(NamedTuple):
    """One way through."""

    api: str
    path: bytes
    """Checked; begins with `/v1/`."""
    backend: str | None
    response_id: str | None = None
    """The backend is the one that made this response."""


def passage_of(head: RequestHead, rules: Sequence[Passthrough]) -> Passage | None:
    """The way a request goes that nothing else serves; None where there is none."""
    path = checked_path(head.path)
    if path is None or not head.method:
        return None
    if head.method in by_id_methods(path).split(b", "):
        identity = path[len(RESPONSES_PREFIX) :].partition(b"/")[0]
        name = unquote_to_bytes(identity).decode("utf-8", "replace")
        return Passage("responses", path, None, name)
    rule = rule_for(path.decode("ascii"), rules)
    return None if rule is None else Passage("passthrough", path, rule.backend)


def by_id_methods(path: bytes) -> bytes:
    """The methods served under a response's id, as `Allow` lists them; empty where none are."""
    if not path.startswith(RESPONSES_PREFIX):
        return b""
    identity, *rest = path[len(RESPONSES_PREFIX) :].split(b"/")
    return _BY_ID.get(tuple(rest), b"") if identity else b""


def rule_for(path: str, rules: Sequence[Passthrough]) -> Passthrough | None:
    """The first rule that fits: an exact path, or the beginning of one where it ends in a star."""
    for rule in rules:
        if rule.path == path or (rule.path[-1] == "*" and path.startswith(rule.path[:-1])):
            return rule
    return None


def checked_path(path: bytes) -> bytes | None:
    """The same path put together anew; None where a server might read it in another way."""
    start, *segments = path.split(b"/")
    if start or not segments or segments[0] != b"v1":
        return None
    checked = [_checked(segment) for segment in segments]
    if None in checked:
        return None
    return "".join(f"/{segment}" for segment in checked).encode("ascii")


def _checked(segment: bytes) -> str | None:
    """One segment, its escapes read and written anew."""
    plain = unquote_to_bytes(segment)
    if plain in (b"", b".", b"..") or b"%" in plain or not _REFUSED.isdisjoint(plain):
        return None
    return quote(plain, safe=_KEPT)
