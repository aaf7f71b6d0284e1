"""What a worker may ask the keeper about requests answered earlier, by itself or by others.

    worker   Lookup   question, at most OPEN_MAX open, ANSWER_S each
    keeper   Finder   one thread, at most WAITING_MAX waiting: store, journal, store (telemetry)

Questions travel over the control link. No request that is being routed waits for one: only a
request that is itself about an earlier one does, and for ANSWER_S at most.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from telemetry.finding import find_decision, find_response_backend
from telemetry.ids import milliseconds_of
from telemetry.logs import log

from .control import Answer, Question
from .tasks import TaskKeeper

ANSWER_S = 2.0
OPEN_MAX = 64
"""Open questions of one worker; beyond, the asker is told to come again."""
WAITING_MAX = 512
"""Open questions of all workers; at about 1 ms each that is half a second."""
ID_CHARACTERS_MAX = 256
"""Longer than any id a backend makes; no longer one is looked for."""

Send = Callable[[Question], bool]
About = Literal["decision", "response"]


class Unanswered(Exception):
    """The keeper is away, busy, or did not answer in time: nothing is known, not even nothing."""


class Lookup:
    """The worker's end. Knows nothing until `through` gives it a way to the keeper."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._send: Send = lambda question: False
        self._open: dict[int, asyncio.Future[bytes]] = {}
        self._next = 0
        self._tasks = TaskKeeper(_report)
        self.unanswered = 0

    def __repr__(self) -> str:
        return f"<Lookup open={len(self._open)} unanswered={self.unanswered}>"

    def through(self, send: Send) -> None:
        """Ask by `send` (False where the keeper is away); answers come to `answered`."""
        self._send = send

    def start(self, name: str, work: Coroutine[object, object, None]) -> None:
        """Run what awaits answers here until it ends."""
        self._tasks.start(name, work)

    def close(self) -> None:
        """Leave what is open unanswered."""
        for future in self._open.values():
            if not future.done():
                future.set_exception(Unanswered("the worker is leaving"))

    async def decision(self, identifier: str, caller: str | None) -> dict[str, Any] | None:
        """A decision made for `caller`, in the shape of `explain --json`; None where there is
        none. Raises Unanswered."""
        found: dict[str, Any] | None = msgspec.json.decode(
            await self._ask("decision", identifier, caller)
        )
        return found

    async def response_backend(self, response_id: str, caller: str | None) -> str | None:
        """The backend that made `caller`'s answer called `response_id` (`resp_...`); None where
        it is not known, or not within ANSWER_S; telemetry.queries.ANOTHERS: another caller's."""
        try:
            found: str | None = msgspec.json.decode(
                await self._ask("response", response_id, caller)
            )
        except Unanswered:
            return None
        return found

    def answered(self, answer: Answer) -> None:
        """From the link. An answer that comes too late is dropped."""
        future = self._open.get(answer.number)
        if future is None or future.done():
            return
        if answer.found is None:
            future.set_exception(Unanswered("the keeper could not look it up"))
        else:
            future.set_result(answer.found)

    async def _ask(self, about: About, identifier: str, caller: str | None) -> bytes:
        if len(identifier) > ID_CHARACTERS_MAX:
            return b"null"
        self._next += 1
        number = self._next
        future: asyncio.Future[bytes] = self._loop.create_future()
        question = Question(number, about, identifier, caller)
        if len(self._open) >= OPEN_MAX or not self._send(question):
            self.unanswered += 1
            raise Unanswered("the keeper is away or has too many questions")
        self._open[number] = future
        try:
            async with asyncio.timeout(ANSWER_S):
                return await future
        except TimeoutError:
            self.unanswered += 1
            raise Unanswered(f"no answer within {ANSWER_S:g} s") from None
        finally:
            del self._open[number]


def _report(name: str, error: BaseException) -> None:
    log("task_failed", level="error", task=name, error=f"{type(error).__name__}: {error}")


class Finder:
    """The keeper's end: finds in a thread of its own, so that neither fold nor admin port wait."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="find")
        self._waiting = 0

    def ask(self, question: Question, reply: Callable[[Answer], None]) -> None:
        """Look it up and `reply`, in the loop that called. Does not wait."""
        if self._waiting >= WAITING_MAX:
            reply(Answer(question.number, None))
            return
        self._waiting += 1
        loop = asyncio.get_running_loop()
        future = self._thread.submit(self._find, question, time.monotonic())
        future.add_done_callback(
            lambda done: loop.call_soon_threadsafe(partial(self._reply, question, reply, done))
        )

    def close(self) -> None:
        """Leave what still waits unanswered."""
        self._thread.shutdown(cancel_futures=True)

    def _find(self, question: Question, asked_s: float) -> bytes | None:
        """In the thread. Where a long journal makes each search slow, the late ones are not made:
        nobody waits for them any more."""
        if time.monotonic() - asked_s > ANSWER_S:
            return None
        return found_for(self._directory, question)

    def _reply(
        self, question: Question, reply: Callable[[Answer], None], done: Future[bytes | None]
    ) -> None:
        self._waiting -= 1
        error = None if done.cancelled() else done.exception()
        if error is not None:
            log("lookup_failed", level="error", error=f"{type(error).__name__}: {error}")
        is_found = error is None and not done.cancelled()
        reply(Answer(question.number, done.result() if is_found else None))


def found_for(directory: Path, question: Question) -> bytes:
    """JSON of what `question` asks for, `null` where there is no such thing of this caller's."""
    if question.about == "response":
        return msgspec.json.encode(find_response_backend(directory, question.id, question.caller))
    decided = None
    if milliseconds_of(question.id) is not None:
        decided = find_decision(directory, question.id)
    is_theirs = decided is not None and decided.caller == question.caller
    return msgspec.json.encode(decided.decision if decided is not None and is_theirs else None)
