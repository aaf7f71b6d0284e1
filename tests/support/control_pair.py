"""A keeper's hub and workers' links, joined by a real unix socket in one loop."""

import asyncio
import socket
from pathlib import Path

from adapters.standing import Standing
from policies.sticky import Held
from proxy.control import Answer, CanaryArms, Conversations, ProbeAnswer, Suspended
from proxy.hub import Hub, OnQuestion
from proxy.link import Link
from telemetry.metrics import Counters


class FakeWorker:
    """What a link speaks for, with values a test may change."""

    def __init__(self, generation: int = 0) -> None:
        self.generation = generation
        self.values: Counters = {}
        self.more_state: dict[str, object] = {}
        self.learned: list[bytes] = []
        self.answers: list[Answer] = []
        self.news: list[Standing | ProbeAnswer] = []
        self.held: list[Standing] = []
        self.orders: list[CanaryArms | Suspended] = []
        self.sticks: dict[bytes, Held] = {}
        self.told: list[tuple[bytes, Held]] = []
        self.failure: Exception | None = None
        self.asked: list[int] = []
        self.is_stuck = False

    def counters(self) -> Counters:
        return self.values

    def state(self) -> dict[str, object]:
        return {"in_flight": len(self.values), **self.more_state}

    async def reload(self, generation: int) -> None:
        self.asked.append(generation)
        if self.is_stuck:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        self.generation = generation

    def learn(self, data: bytes) -> None:
        self.learned.append(data)

    def answered(self, answer: Answer) -> None:
        self.answers.append(answer)

    def hear(self, news: Standing | ProbeAnswer) -> None:
        self.news.append(news)

    def take_canaries(self, canaries: CanaryArms) -> None:
        self.orders.append(canaries)

    def suspend(self, suspended: Suspended) -> None:
        self.orders.append(suspended)

    def standings(self) -> list[Standing]:
        return self.held

    def hear_of(self, conversations: Conversations) -> None:
        self.told += conversations.entries

    def conversations(self) -> Conversations:
        return Conversations(list(self.sticks.items()))


class Pair:
    """One hub at a time, any number of links to it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "c.sock"
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.path))
        self.listening.listen()
        self.listening.setblocking(False)
        self.troubles: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def hub(self, generation: int = 0, on_question: OnQuestion | None = None) -> Hub:
        """A keeper on the same listening socket, as after a restart."""
        hub = Hub(generation=generation, on_trouble=self.troubles.append, on_question=on_question)
        await hub.listen(self.listening.dup())
        return hub

    def link(self, worker: int, subject: FakeWorker, *, pid: int = 1) -> Link:
        """A worker's link, running."""
        link = Link(self.path, worker, pid, subject, self.troubles.append)
        self.tasks.append(asyncio.get_running_loop().create_task(link.run()))
        return link

    async def close(self) -> None:
        """End all links."""
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        self.listening.close()


async def until(condition: object) -> None:
    """Wait until a condition holds; five seconds at most."""
    assert callable(condition)
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (conditions of any kind)
            await asyncio.sleep(0.005)
