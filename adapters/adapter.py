"""What an adapter is: everything in which one kind of model server differs from the others.

One file in `adapters/kinds/` is one adapter. Its name is the word for `adapter:` in the
configuration, its `ADAPTER` a value of the type below; registry.py finds it, and nothing else
has to know. All of it is constant: what an adapter needs of one backend stands in `Backend`.

    read           the configuration's words -> Backend
    credentials    the header lines that say who we are
    locate         where an API's path lies on this server
    to_upstream    which of a client's headers go on (an allow-list)
    to_downstream  which of the server's headers a client sees
    edit           the body, spliced; what must be hidden again; or a refusal
    is_retryable   whether a failed request may do better another time
    is_loading     whether the server is not ready rather than failed
"""

from collections.abc import Callable
from dataclasses import dataclass

from pointsman.errors import PointsmanError

from .backend import Backend, Protocol
from .connection import ResponseHead
from .content_coding import decoded
from .declared import Declared
from .edits import Edited, Wanted
from .headers import Header, HeaderRule

RETRYABLE_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class RequestRefused(PointsmanError, ValueError):
    """This backend must not be sent this request. `param` names the member at fault."""

    def __init__(self, message: str, *, param: str, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


def retryable_by_status(head: ResponseHead, body: bytes) -> bool:
    """Whether the same request may do better another time: by status, unless told otherwise.

    A spent quota answers 429 and stays spent; `x-should-retry` is the backend's own word.
    """
    if head.status not in RETRYABLE_STATUSES or head.header(b"x-should-retry") == b"false":
        return False
    return b"insufficient_quota" not in decoded(body, head.coding)


def never_loading(head: ResponseHead, body: bytes) -> bool:
    """For servers that do not listen before they can answer."""
    return False


@dataclass(frozen=True, slots=True)
class Adapter:
    """One kind of model server. `protocol` is the family of APIs it speaks."""

    protocol: Protocol
    read: Callable[[Declared], Backend]
    credentials: Callable[[Backend], tuple[Header, ...]]
    locate: Callable[[Backend, str], str]
    """`/chat/completions` -> `/v1/chat/completions`; a query of its own may be in it."""
    to_upstream: HeaderRule
    to_downstream: HeaderRule
    edit: Callable[[Backend, bytes, Wanted], Edited]
    """Raises splice.DuplicateMember, ValueError (keys that cannot be read), RequestRefused."""
    is_retryable: Callable[[ResponseHead, bytes], bool] = retryable_by_status
    is_loading: Callable[[ResponseHead, bytes], bool] = never_loading
