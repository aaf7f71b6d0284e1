"""The worker's end of the control socket: reports out, reloads and learned state in.

Nothing waits for it. While the keeper is away the link connects again and again, with a delay
that grows to a second; the worker serves on with what it has.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from adapters.standing import Standing
from telemetry.metrics import Counters

from .control import (
    Answer,
    CanaryArms,
    ControlError,
    Conversations,
    FromKeeper,
    FromWorker,
    Hello,
    LearnedState,
    ProbeAnswer,
    ProbeWanted,
    Question,
    Reload,
    ReloadDone,
    Report,
    Suspended,
    encode,
    read_from_keeper,
)
from .tasks import TaskKeeper

REPORT_S = 0.5
RETRY_FIRST_S = 0.05
RETRY_MAX_S = 1.0
QUEUE_BYTES_MAX = 1 << 20  # a keeper that does not read gets no more reports


class Subject(Protocol):
    """What the link speaks for: the worker's data plane and its configuration."""

    def counters(self) -> Counters:
        """Counters since the worker's start."""

    def state(self) -> dict[str, object]:
        """A JSON-able picture of the worker now."""

    @property
    def generation(self) -> int:
        """Of the configuration in force."""

    async def reload(self, generation: int) -> None:
        """Take up the active configuration; raises what is wrong with it."""

    def learn(self, data: bytes) -> None:
        """Replace the learned state."""

    def answered(self, answer: Answer) -> None:
        """What came of a question."""

    def hear(self, news: Standing | ProbeAnswer) -> None:
        """How a backend stands, or whether it may be tried again."""

    def take_canaries(self, canaries: CanaryArms) -> None:
        """Which requests go to canaries from now on."""

    def suspend(self, suspended: Suspended) -> None:
        """Which promises are not kept any more."""

    def standings(self) -> list[Standing]:
        """What this worker holds against backends: a new keeper knows nothing of it."""

    def hear_of(self, conversations: Conversations) -> None:
        """What conversations stay with."""

    def conversations(self) -> Conversations:
        """What they stay with here."""


@dataclass(slots=True)
class Link:
    """`run` never ends by itself; `report_now` is for the last counters before an exit."""

    path: Path
    worker: int
    pid: int
    subject: Subject
    on_trouble: Callable[[str], None]
    _writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Stay connected."""
        delay_s = RETRY_FIRST_S
        while True:
            try:
                await self._talk()
                delay_s = RETRY_FIRST_S
            except (OSError, ControlError) as error:
                self.on_trouble(str(error))
                delay_s = min(RETRY_MAX_S, delay_s * 2)
            await asyncio.sleep(delay_s)

    def report_now(self) -> None:
        """Send counters and state if the keeper is there and reads."""
        writer = self._writer
        if writer is None or writer.transport.get_write_buffer_size() > QUEUE_BYTES_MAX:
            return
        rows = [(name, labels, value) for (name, labels), value in self.subject.counters().items()]
        self._send(Report(rows, msgspec.json.encode(self.subject.state())))

    def ask(self, question: Question | Standing | ProbeWanted | Conversations) -> bool:
        """Send a question, or news, if the keeper is there and reads."""
        writer = self._writer
        if writer is None or writer.transport.get_write_buffer_size() > QUEUE_BYTES_MAX:
            return False
        self._send(question)
        return True

    async def flush(self, timeout_s: float) -> None:
        """Wait until the keeper's socket has taken what was sent, at most `timeout_s`."""
        if self._writer is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._writer.drain()
        except (TimeoutError, ConnectionError):
            return  # the keeper is gone; its counters begin again with the next one

    async def _talk(self) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        self._writer = writer
        self._send(Hello(self.worker, self.pid, self.subject.generation))
        for standing in self.subject.standings():
            self._send(standing)
        self._send(self.subject.conversations())
        tasks = TaskKeeper(lambda name, error: self.on_trouble(f"{name}: {error!r}"))
        tasks.start("reports", self._report_often())
        try:
            while (message := await read_from_keeper(reader)) is not None:
                await self._obey(message)
        finally:
            self._writer = None
            writer.close()
            await tasks.close()

    async def _report_often(self) -> None:
        while True:
            self.report_now()
            await asyncio.sleep(REPORT_S)

    async def _obey(self, message: FromKeeper) -> None:
        if isinstance(message, LearnedState):
            self.subject.learn(message.data)
        elif isinstance(message, Answer):
            self.subject.answered(message)
        elif isinstance(message, Standing | ProbeAnswer):
            self.subject.hear(message)
        elif isinstance(message, CanaryArms):
            self.subject.take_canaries(message)
        elif isinstance(message, Suspended):
            self.subject.suspend(message)
        elif isinstance(message, Conversations):
            self.subject.hear_of(message)
        elif isinstance(message, Reload):
            error = None
            try:
                await self.subject.reload(message.generation)
            except Exception as failure:  # noqa: BLE001 (boundary: the keeper must get an answer)
                error = f"{type(failure).__name__}: {failure}"
            self._send(ReloadDone(self.subject.generation, error))

    def _send(self, message: FromWorker) -> None:
        if self._writer is not None:
            self._writer.write(encode(message))
