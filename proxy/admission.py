"""Is there room for one more request: in all, and for its caller?

    room        it begins at once
    none        it is refused at once, or waits up to `limits.queue`, oldest first, and is then
                refused: 503 `overloaded`, 429 `rate_limit_exceeded` for a caller at its own limit

The limits are one worker's; the worker divides what the file says. Counting is all that a request
with room costs, and callers are only counted where they have a limit.
"""

import asyncio
from typing import Final, Protocol

from . import errors
from .errors import DownstreamError
from .listening import Limits

WAITING_MAX: Final = 1024
"""More would not be served within a tenth of a second either; each holds its body."""


class Comer(Protocol):
    """A request that may have to wait."""

    id: str
    caller: str | None

    def begin_late(self) -> None: ...
    def refuse(self, error: DownstreamError) -> None: ...


class Admission:
    """The requests that one worker has begun to serve. `enter` and `leave` come in pairs."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._limits = Limits()
        self._callers: dict[str, int] = {}
        self._waiting: dict[str, tuple[Comer, asyncio.TimerHandle]] = {}
        self.in_flight = 0
        """Those that wait included."""

    def __repr__(self) -> str:
        return f"<Admission in_flight={self.in_flight} waiting={len(self._waiting)}>"

    @property
    def waiting(self) -> int:
        """Requests that wait for room."""
        return len(self._waiting)

    def configure(self, limits: Limits) -> None:
        """Hold these from now on; a limit on callers counts those that come from now on."""
        if limits.in_flight_per_key is None:
            self._callers.clear()
        self._limits = limits

    def enter(self, caller: str | None) -> None:
        """A request is here, whole."""
        self.in_flight += 1
        if self._limits.in_flight_per_key is not None and caller is not None:
            self._callers[caller] = self._callers.get(caller, 0) + 1

    def leave(self, identity: str, caller: str | None) -> None:
        """It has been answered, or its client is gone."""
        self.in_flight -= 1
        if self._callers and caller is not None:
            left = self._callers.get(caller, 0) - 1
            if left > 0:
                self._callers[caller] = left
            else:
                self._callers.pop(caller, None)
        if self._waiting:
            waiting = self._waiting.pop(identity, None)
            if waiting is not None:
                waiting[1].cancel()
            self._let_in()

    def refusal(self, caller: str | None) -> DownstreamError | None:
        """Why a request that has entered is refused at once, if it is."""
        if self._has_room(caller):
            return None
        if self._limits.queue_s > 0 and len(self._waiting) < WAITING_MAX:
            return None
        is_full = self.in_flight - len(self._waiting) > self._limits.in_flight
        return errors.overloaded() if is_full else errors.too_many_of_key()

    def holds(self, comer: Comer) -> bool:
        """Let it wait, where it must, until there is room or the time is over."""
        if self._has_room(comer.caller):
            return False
        timer = self._loop.call_later(self._limits.queue_s, self._send_away, comer)
        self._waiting[comer.id] = comer, timer
        return True

    def _send_away(self, comer: Comer) -> None:
        del self._waiting[comer.id]
        is_full = self.in_flight - len(self._waiting) > self._limits.in_flight
        comer.refuse(errors.overloaded() if is_full else errors.too_many_of_key())

    def _has_room(self, caller: str | None, more: int = 0) -> bool:
        """For those being served now and `more`."""
        if self.in_flight - len(self._waiting) + more > self._limits.in_flight:
            return False
        return not self._callers or not self._is_at_limit(caller, more)

    def _is_at_limit(self, caller: str | None, more: int = 0) -> bool:
        limit = self._limits.in_flight_per_key
        if limit is None or caller is None:
            return False
        waiting = sum(comer.caller == caller for comer, _ in self._waiting.values())
        return self._callers.get(caller, 0) - waiting + more > limit

    def _let_in(self) -> None:
        """The longest waiting that there is room for."""
        for identity, (comer, timer) in self._waiting.items():
            if self._has_room(comer.caller, 1):
                del self._waiting[identity]
                timer.cancel()
                self._loop.call_soon(comer.begin_late)
                return
