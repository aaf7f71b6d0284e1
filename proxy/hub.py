"""The keeper's end of the control socket: knows each worker, adds up what they count.

A worker that dies takes nothing with it: its last counters are added to a base, so that sums
over the workers only grow while this keeper lives; one that is being replaced counts on beside
its successor until it has gone. (A new keeper begins from what the living
workers report; Prometheus takes that for the counter reset it is.)
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import msgspec

from adapters.standing import Standing
from telemetry.metrics import Counters, merged

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
    read_from_worker,
)
from .shared_health import SharedHealth
from .sticking import Memory

QUEUE_BYTES_MAX = 8 << 20  # a worker that does not read its learned state misses some
HELLO_S = 5.0
FINISH_S = 1.0
GROWING = ("_total", "_bucket", "_sum", "_count")  # as the exposition tells counters apart


OnQuestion = Callable[[Question, Callable[[Answer], None]], None]
"""Takes a question and where its answer goes; does not wait."""


@dataclass(slots=True, eq=False)
class Member:
    """One connected worker as it last reported."""

    worker: int
    pid: int
    generation: int
    writer: asyncio.StreamWriter
    number: int
    """In the order they came."""
    counters: Counters = field(default_factory=dict)
    state: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(b"{}"))
    failure: str | None = None
    """Why its last reload did not work."""

    @property
    def key(self) -> tuple[int, int]:
        """Worker and process."""
        return self.worker, self.pid

    @property
    def is_reading(self) -> bool:
        """Whether it takes what it is sent."""
        return self.writer.transport.get_write_buffer_size() <= QUEUE_BYTES_MAX

    def send(self, message: FromKeeper) -> None:
        """Queue a message; none once the worker is gone."""
        if not self.writer.is_closing():
            self.writer.write(encode(message))


class _State(msgspec.Struct):
    """What is read of a worker's own picture."""

    ready: bool = True


_decode_state = msgspec.json.Decoder(_State).decode


class Hub:
    """All workers of this process tree. `generation` is what they should be running."""

    def __init__(
        self,
        *,
        generation: int,
        on_trouble: Callable[[str], None],
        on_question: OnQuestion | None = None,
    ) -> None:
        self.generation = generation
        self._on_trouble = on_trouble
        self._on_question = on_question
        self._members: dict[tuple[int, int], Member] = {}
        """By worker and process: one that is being replaced has a successor beside it."""
        self._last: dict[tuple[int, int], Counters] = {}
        self._health = SharedHealth()
        self._conversations = Memory()
        self._welcomed = 0
        self._base: Counters = {}
        self._learned: bytes | None = None
        self._orders: dict[type, CanaryArms | Suspended] = {}
        """The latest of each kind."""
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.StreamWriter] = set()

    async def listen(self, control: socket.socket) -> None:
        """Accept workers on the inherited socket."""
        self._server = await asyncio.start_unix_server(self._talk, sock=control)

    def close(self) -> None:
        """Drop all connections; the listening socket stays the supervisor's."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._talks):
            writer.close()

    async def finish(self) -> None:
        """Drop them, and wait until each conversation has ended by itself."""
        self.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_S), self._changed:
                await self._changed.wait_for(lambda: not self._talks)

    # -- what the admin listener asks ------------------------------------------------------

    def counters(self) -> Counters:
        """Sums over all workers that ever reported to this keeper."""
        living = [
            counters if key in self._members else only_growing(counters)
            for key, counters in self._last.items()
        ]
        return merged([self._base, *living])

    def states(self) -> dict[str, object]:
        """Each connected worker's own picture, by `worker N`; of one being replaced, its heir's."""
        return {
            f"worker {member.worker}": {
                "pid": member.pid,
                "generation": member.generation,
                "state": member.state,
            }
            for member in self._in_order()
        }

    @property
    def connected(self) -> int:
        """How many workers are there now."""
        return len({worker for worker, _ in self._members})

    @property
    def refusing(self) -> int:
        """How many of them say that they are not ready; one being replaced is not asked."""
        latest = {member.worker: member for member in self._in_order()}
        return sum(not _decode_state(member.state).ready for member in latest.values())

    def _in_order(self) -> list[Member]:
        return sorted(self._members.values(), key=lambda member: (member.worker, member.number))

    # -- what the keeper sends -------------------------------------------------------------

    def share_learned(self, data: bytes) -> None:
        """Give the learned state to every worker, now and when one connects."""
        self._learned = data
        for member in self._members.values():
            self._send_learned(member)

    def order(self, what: CanaryArms | Suspended) -> None:
        """Tell every worker, now and when one connects."""
        self._orders[type(what)] = what
        for member in self._members.values():
            member.send(what)

    async def reload(self, generation: int, *, timeout_s: float) -> list[str]:
        """Have every connected worker take up `generation`; returns what went wrong, if anything.

        A worker that is being restarted reads the active configuration by itself.
        """
        self.generation = generation
        self._health.forget()
        asked = list(self._members.values())
        for member in asked:
            member.failure = None
            member.send(Reload(generation))
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: all(map(self._is_settled, asked)))
        except TimeoutError:
            return [
                f"worker {member.worker} did not answer within {timeout_s:g} s"
                for member in asked
                if not self._is_settled(member)
            ]
        return [f"worker {m.worker}: {m.failure}" for m in asked if m.failure is not None]

    def _is_settled(self, member: Member) -> bool:
        is_gone = self._members.get(member.key) is not member
        return is_gone or member.failure is not None or member.generation >= self.generation

    # -- one connection --------------------------------------------------------------------

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._talks.add(writer)
        try:
            member = await self._welcome(reader, writer)
            if member is not None:
                await self._listen(reader, member)
        except (ControlError, TimeoutError, ConnectionError) as error:
            self._on_trouble(str(error) or type(error).__name__)
        finally:
            self._talks.discard(writer)
            writer.close()
            await self._tell_waiters()

    async def _welcome(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Member | None:
        async with asyncio.timeout(HELLO_S):
            hello = await read_from_worker(reader)
        if hello is None:
            return None
        if not isinstance(hello, Hello):
            raise ControlError("the first message was not Hello")
        self._welcomed += 1
        member = Member(hello.worker, hello.pid, hello.generation, writer, self._welcomed)
        self._members[member.key] = member
        if hello.generation < self.generation:
            member.send(Reload(self.generation))
        for order in self._orders.values():
            member.send(order)
        self._send_learned(member)
        for standing in self._health.standings:
            member.send(standing)
        member.send(self._conversations.all())
        return member

    async def _listen(self, reader: asyncio.StreamReader, member: Member) -> None:
        try:
            while (message := await read_from_worker(reader)) is not None:
                self._note(member, message)
                if isinstance(message, ReloadDone):
                    await self._tell_waiters()
        finally:
            if self._members.get(member.key) is member:
                del self._members[member.key]
                self._retire_former(member.worker)
            await self._tell_waiters()

    def _note(self, member: Member, message: FromWorker) -> None:
        if isinstance(message, Report):
            member.counters = {(name, labels): value for name, labels, value in message.counters}
            member.state = msgspec.Raw(message.state)
            self._remember(member)
        elif isinstance(message, ReloadDone):
            member.generation = message.generation
            member.failure = message.error
        elif isinstance(message, Question) and self._on_question is not None:
            self._on_question(message, member.send)
        elif isinstance(message, Standing):
            if self._health.note(message):
                self._pass_on(message, member)
        elif isinstance(message, Conversations):
            self._conversations.hear(message.entries)
            self._pass_on(message, member)
        elif isinstance(message, ProbeWanted):
            is_granted = self._health.grant(message.backend, member.pid, monotonic())
            member.send(ProbeAnswer(message.backend, is_granted))

    def _pass_on(self, told: Standing | Conversations, member: Member) -> None:
        """What one worker found out or decided, to the others."""
        for other in self._members.values():
            if other is not member and other.is_reading:
                other.send(told)

    def _remember(self, member: Member) -> None:
        """Keep the latest counters; those of the worker's former processes go into the base."""
        self._last[member.key] = member.counters
        self._retire_former(member.worker)

    def _retire_former(self, worker: int) -> None:
        """Add to the base what processes counted that have gone and have a successor."""
        if not any(member.worker == worker for member in self._members.values()):
            return  # the last of them may be back: its link broke, not its life
        for key in tuple(self._last):
            if key[0] == worker and key not in self._members:
                self._base = merged([self._base, only_growing(self._last.pop(key))])

    def _send_learned(self, member: Member) -> None:
        if self._learned is not None and member.is_reading:
            member.send(LearnedState(self._learned))

    async def _tell_waiters(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def only_growing(counters: Counters) -> Counters:
    """What a dead worker leaves behind: not its gauges, which say how things are, not were."""
    return {key: value for key, value in counters.items() if key[0].endswith(GROWING)}
