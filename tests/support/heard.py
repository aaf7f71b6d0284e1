"""A listener that remembers what it heard of one upstream call, and a loop as in production."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import uvloop

from adapters.connection import ResponseHead
from adapters.errors import UpstreamError

P = ParamSpec("P")

WAIT_S = 10.0


class Heard:
    """What came of a call. `on_piece` is called for each piece of the body."""

    def __init__(self, on_piece: Callable[[bytes], None] = lambda data: None) -> None:
        self.head: ResponseHead | None = None
        self.pieces: list[bytes] = []
        self.error: UpstreamError | None = None
        self.is_whole = False
        self._on_piece = on_piece
        self._changed = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def kind(self) -> str | None:
        """The kind of failure."""
        return None if self.error is None else self.error.kind

    @property
    def status(self) -> int | None:
        return None if self.head is None else self.head.status

    @property
    def is_over(self) -> bool:
        return self.is_whole or self.error is not None

    def on_head(self, head: ResponseHead) -> None:
        assert self.head is None, "a second head"
        assert not self.is_over
        self.head = head
        self._changed.set()

    def on_data(self, data: bytes, *, is_end: bool) -> None:
        assert self.head is not None, "a body before its head"
        assert not self.is_over, "more after the end"
        self.pieces.append(data)
        self.is_whole = is_end
        self._on_piece(data)
        self._changed.set()

    def on_failure(self, error: UpstreamError) -> None:
        assert not self.is_over, "a failure after the end"
        self.error = error
        self._changed.set()

    async def until(self, condition: Callable[["Heard"], object]) -> "Heard":
        """Wait until something holds of what was heard."""
        async with asyncio.timeout(WAIT_S):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()
        return self

    async def end(self) -> "Heard":
        """Wait for the end, good or bad."""
        return await self.until(lambda heard: heard.is_over)


def on_uvloop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on uvloop; nothing may escape into the loop's exception handler."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        escaped: list[dict[str, Any]] = []

        async def watched() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: escaped.append(context))
            await test(*arguments, **named)
            await asyncio.sleep(0.01)  # let closed transports go

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(watched())
        assert not escaped

    return run


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Wait for something that blocks, the loop running on."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
