"""What can go wrong on the upstream side.

    UpstreamError          what kind of failure, and the words for the record

        dns        the name has no address, or none came in time
        connect    refused, unreachable or timed out
        tls        the handshake failed or the certificate is not to be trusted
        reset      the connection ended before the head of an answer was whole
        stale      the same, on a kept-alive connection and before a single byte
        protocol   an answer that is not the HTTP we accept
        cut        the connection ended inside the answer's body
        full       our own limit for this backend, not its fault

All of them may be followed by another attempt as long as nothing has reached the client; whether
one is made is up to the policies.
"""

from typing import Literal

from pointsman.errors import PointsmanError

Kind = Literal["dns", "connect", "tls", "reset", "stale", "protocol", "cut", "full"]


class UpstreamError(PointsmanError):
    """A backend failed before or while it answered.

    After `stale` the request may be sent once more on a fresh connection without counting as a
    retry: the backend closed an idle connection at the moment we used it.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind
