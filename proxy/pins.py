"""Which backend made which response: whoever goes on from one must ask that backend again.

A worker remembers what it has seen itself; an older response, or another worker's, is looked up
by the keeper (lookup.py). An id that nobody here knows is nobody's: None.
"""

from collections.abc import Callable

from .lookup import Lookup

PINS_MAX = 50_000
"""Ids remembered by a worker, the oldest forgotten first; 10 MB."""
ID_CHARACTERS_MAX = 256

Found = Callable[[str | None], None]


class Pins:
    """Of one worker."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._backends: dict[tuple[str | None, str], str] = {}

    def __len__(self) -> int:
        return len(self._backends)

    def remember(self, response_id: str, caller: str | None, backend: str) -> None:
        """`backend` made this response for `caller`."""
        if len(response_id) > ID_CHARACTERS_MAX:
            return
        if len(self._backends) >= PINS_MAX:
            del self._backends[next(iter(self._backends))]
        self._backends[caller, response_id] = backend

    def find(self, response_id: str, caller: str | None, found: Found) -> None:
        """Call `found` with the backend's name: at once where it is remembered, else later."""
        known = self._backends.get((caller, response_id))
        if known is not None or len(response_id) > ID_CHARACTERS_MAX:
            found(known)
        else:
            self._lookup.start("find a response", self._ask(response_id, caller, found))

    async def _ask(self, response_id: str, caller: str | None, found: Found) -> None:
        backend = await self._lookup.response_backend(response_id, caller)
        if backend is not None:
            self.remember(response_id, caller, backend)
        found(backend)
