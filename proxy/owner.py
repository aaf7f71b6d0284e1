"""Who is told what becomes of an attempt: usually its exchange."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .attempt import Attempt


class Owner(Protocol):
    """Who made the attempt, or has taken it over."""

    def attempt_streams(self, attempt: "Attempt", data: bytes) -> None: ...
    def attempt_ended(self, attempt: "Attempt") -> None: ...


class Nobody:
    """Hears of nothing: the owner of an attempt that was let go."""

    def attempt_streams(self, attempt: "Attempt", data: bytes) -> None:
        pass

    def attempt_ended(self, attempt: "Attempt") -> None:
        pass


NOBODY = Nobody()
