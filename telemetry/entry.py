"""What waits in a journal; a plain class in a file of its own, so that it can be compiled."""

from collections.abc import Callable

from .frames import Kind

Release = Callable[[bool], None]


class Entry:
    """One frame to be, not changed once made; `owner` is the id of the request it belongs to."""

    __slots__ = ("kind", "owner", "payload", "release")

    def __init__(
        self,
        kind: Kind,
        payload: bytes,
        release: Release | None = None,
        owner: str | None = None,
    ) -> None:
        self.kind = kind
        self.payload = payload
        self.release = release
        self.owner = owner
