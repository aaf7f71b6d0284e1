"""Which backend made which response: whoever goes on from one must ask that backend again.

A worker remembers what it has seen itself; an older response, or another worker's, is looked up
by the keeper (lookup.py). An id that nobody here knows is nobody's: None. One that was made for
another caller is ANOTHERS, and refused: their backends know our key, not who asked with it.
"""

from collections.abc import Callable

from telemetry.queries import ANOTHERS as ANOTHERS

from .lookup import Lookup

PINS_MAX = 50_000
"""Ids remembered by a worker, the oldest forgotten first; 10 MB."""
ID_CHARACTERS_MAX = 256

Found = Callable[[str | None], None]


class Pins:
    """Of one worker."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._made: dict[str, tuple[str | None, str]] = {}
        """Caller and backend of each."""

    def __len__(self) -> int:
        return len(self._made)

    def remember(self, response_id: str, caller: str | None, backend: str) -> None:
        """`backend` made this response for `caller`."""
        if len(response_id) > ID_CHARACTERS_MAX:
            return
        if len(self._made) >= PINS_MAX:
            del self._made[next(iter(self._made))]
        self._made[response_id] = caller, backend

    def find(self, response_id: str, caller: str | None, found: Found) -> None:
        """Call `found` with the backend's name: at once where it is remembered, else later."""
        known = self._made.get(response_id)
        if known is not None and known[0] == caller:
            found(known[1])
        elif len(response_id) > ID_CHARACTERS_MAX:
            found(None)
        else:
            self._lookup.start("find a response", self._ask(response_id, caller, found))

    async def _ask(self, response_id: str, caller: str | None, found: Found) -> None:
        backend = await self._lookup.response_backend(response_id, caller)
        if backend:
            self.remember(response_id, caller, backend)
        elif backend is None and response_id in self._made:
            backend = ANOTHERS  # seen here, and the keeper is away
        found(backend)
