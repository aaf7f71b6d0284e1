"""Who waits for a limit that is far away is told in time, and nobody else is."""

import asyncio
from pathlib import Path
from time import monotonic

from proxy.patience import CHECK_EVERY_S, FAR_S, Patience
from tests.support.plane import ASKED, serving, whole_answer
from tests.support.raw_client import post
from tests.support.scripted import request, stall


class One:
    def __init__(self) -> None:
        self.told_s: float | None = None

    def limit_is_near(self) -> None:
        self.told_s = monotonic()


async def test_is_told_before_its_limit_and_only_then() -> None:
    patience = Patience(asyncio.get_running_loop())
    near, far = One(), One()
    due_s = monotonic() + FAR_S + 0.2
    patience.wait(near, due_s)
    patience.wait(far, due_s + 60)
    await asyncio.sleep(0.2 + 2 * CHECK_EVERY_S)
    assert near.told_s is not None
    assert near.told_s < due_s
    assert far.told_s is None
    assert len(patience) == 1
    patience.close()


async def test_who_has_ended_is_not_told() -> None:
    patience = Patience(asyncio.get_running_loop())
    one = One()
    patience.wait(one, monotonic() + FAR_S)
    patience.forget(one)
    patience.forget(one)
    await asyncio.sleep(2 * CHECK_EVERY_S)
    assert one.told_s is None
    assert len(patience) == 0


async def test_who_waits_on_is_told_again() -> None:
    patience = Patience(asyncio.get_running_loop())

    class Stubborn(One):
        times = 0

        def limit_is_near(self) -> None:
            self.times += 1
            if self.times < 3:
                patience.wait(self, monotonic() + FAR_S / 2)

    one = Stubborn()
    patience.wait(one, monotonic() + FAR_S / 2)
    await asyncio.sleep(4 * CHECK_EVERY_S)
    assert one.times == 3
    assert len(patience) == 0


def test_a_request_waits_while_it_lives_and_not_a_moment_longer(tmp_path: Path) -> None:
    script = [request, stall(0.2), whole_answer()]
    with serving(tmp_path, script) as (_, plane), plane.client() as client:
        client.send(post(ASKED))
        plane.wait_until(lambda: len(plane.data_plane.patience) == 1)
        assert client.read().status == 200
        assert len(plane.data_plane.patience) == 0
