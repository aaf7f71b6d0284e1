import asyncio

import pytest

from proxy import pins
from proxy.lookup import Lookup
from proxy.pins import ANOTHERS, Pins


class Known(Lookup):
    """A keeper that knows one response."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.asked: list[tuple[str, str | None]] = []

    async def response_backend(self, response_id: str, caller: str | None) -> str | None:
        self.asked.append((response_id, caller))
        return {"resp_far": "far", "resp_theirs": ANOTHERS}.get(response_id)


async def found(kept: Pins, response_id: str, caller: str | None = None) -> str | None:
    told: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    kept.find(response_id, caller, told.set_result)
    return await told


async def test_what_was_seen_here_is_known_at_once() -> None:
    lookup = Known()
    kept = Pins(lookup)
    kept.remember("resp_1", None, "near")
    told: list[str | None] = []
    kept.find("resp_1", None, told.append)
    assert told == ["near"]
    assert lookup.asked == []


async def test_what_another_worker_saw_is_looked_up_once() -> None:
    lookup = Known()
    kept = Pins(lookup)
    assert await found(kept, "resp_far") == "far"
    assert await found(kept, "resp_far") == "far"
    assert await found(kept, "resp_nobodys") is None
    assert lookup.asked == [("resp_far", None), ("resp_nobodys", None)]


async def test_another_callers_response_is_refused_whoever_saw_it() -> None:
    kept = Pins(Known())
    kept.remember("resp_1", "one", "near")
    assert await found(kept, "resp_1", "two") == ANOTHERS  # the keeper knows nothing of it
    assert await found(kept, "resp_1", "one") == "near"
    assert await found(kept, "resp_theirs", "two") == ANOTHERS
    assert len(kept) == 1


async def test_an_id_that_two_have_is_each_ones_own() -> None:
    lookup = Known()
    kept = Pins(lookup)
    kept.remember("resp_far", "one", "near")
    assert await found(kept, "resp_far", "two") == "far"
    assert lookup.asked == [("resp_far", "two")]


async def test_the_oldest_is_forgotten_and_an_endless_id_never_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pins, "PINS_MAX", 2)
    lookup = Known()
    kept = Pins(lookup)
    for name in ("resp_1", "resp_2", "resp_3"):
        kept.remember(name, None, "near")
    assert len(kept) == 2
    assert await found(kept, "resp_1") is None
    kept.remember("x" * 257, None, "near")
    assert await found(kept, "x" * 257) is None
    assert lookup.asked == [("resp_1", None)]
