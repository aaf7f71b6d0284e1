"""Which backend has read a conversation last, and how much of it: what prefix affinity asks.

Each worker remembers what went through it; of a conversation that was answered by another
worker nothing is known here, and nothing is reckoned with.
"""

from collections.abc import Collection
from typing import Final

from policies.affinity import PREFIX_TOKENS_MIN, Prefix, is_warm
from telemetry.record import RequestRecord

CONVERSATIONS_MAX: Final = 20_000
"""4 MB; the oldest is forgotten first, and after five minutes none counts."""

Key = tuple[str | None, str]


class Prefixes:
    """`routes` are those where it can change the choice; of others nothing is kept."""

    def __init__(self) -> None:
        self.routes: Collection[str] = frozenset()
        self._held: dict[Key, Prefix] = {}

    def answered(self, record: RequestRecord, now_s: float) -> None:
        """A request was answered."""
        tokens, backend, conversation = record.usage.prompt, record.backend, record.conversation
        if record.status != "ok" or backend is None or conversation is None:
            return
        key = (record.caller, conversation)
        self._held.pop(key, None)  # so that it goes to the end
        if tokens is None or tokens < PREFIX_TOKENS_MIN:
            return
        if len(self._held) >= CONVERSATIONS_MAX:
            del self._held[next(iter(self._held))]
        self._held[key] = Prefix(backend, tokens, now_s)

    def held(self, caller: str | None, conversation: str, now_s: float) -> Prefix | None:
        """What is known of a conversation, if that still counts."""
        found = self._held.get((caller, conversation))
        return found if found is not None and is_warm(found, now_s) else None
