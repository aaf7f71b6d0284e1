"""The shape of one API: how its requests are read, and how answers and errors are written.

A shape is a value of functions; chat.py, completions.py, responses.py and messages.py each make
one. What is said, how fast, and how it fails is the same for all of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from .call import Call

_KINDS = {
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    408: ("invalid_request_error", "request_timeout"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("requests", "rate_limit_exceeded"),
}


class Events(Protocol):
    """The events of one streamed answer, in the order of these members."""

    @property
    def length(self) -> int:
        """Tokens of the longest choice."""

    def opening(self) -> Iterator[bytes]:
        """What comes with the first token."""

    def token(self, position: int) -> Iterator[bytes]:
        """The token at `position` of every choice."""

    def closing(self) -> Iterator[bytes]:
        """How it ended."""

    def ending(self) -> Iterator[bytes]:
        """What says that nothing more comes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`name` is the API's. `whole` and `events` take (reply, call, created_s=, fingerprint=)."""

    name: str
    read: Callable[..., Call]
    """From the body and `model=`; raises CallRefused."""
    whole: Callable[..., bytes]
    events: Callable[..., Events]
    error: Callable[..., bytes]
    """An error body from a message, `status=, kind=, param=, code=`."""
    error_event: Callable[[bytes], bytes]
    """An error body as an event."""

    def failure(self, status: int) -> bytes:
        """The error body of a simulated failure."""
        default = ("server_error" if status >= 500 else "invalid_request_error", None)
        kind, code = _KINDS.get(status, default)
        message = f"Simulated failure with status {status}."
        return self.error(message, status=status, kind=kind, code=code)


def data_event(body: bytes) -> bytes:
    """A body as the data of a nameless event."""
    return b"data: " + body + b"\n\n"
