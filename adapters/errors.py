"""What can go wrong on the upstream side, and whether another try may help.

UpstreamError          kind, is_retryable, and the words for the record
"""

from typing import Literal

from pointsman.errors import PointsmanError

Kind = Literal[
    "dns", "connect", "tls", "reset", "stale", "protocol", "timeout", "full", "not_json", "cut",
]  # fmt: skip

RETRYABLE: frozenset[Kind] = frozenset(
    {"dns", "connect", "tls", "reset", "stale", "protocol", "full", "not_json"}
)


class UpstreamError(PointsmanError):
    """A backend failed before or while it answered.

    `stale` means a kept-alive connection died before a byte of the answer came: the request
    may be sent once more on a fresh connection without counting as a retry. `full` means our
    own limit for this backend, not its fault.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind

    @property
    def is_retryable(self) -> bool:
        """Another attempt may succeed, provided nothing has reached the client."""
        return self.kind in RETRYABLE
