"""The keeper's fold: journals into the store, and every folded record into what is learned.

It runs in one thread of its own, so that a large batch does not keep the admin listener waiting
and store and learned state are touched by that thread alone.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from telemetry.errors import Locked
from telemetry.fold import Folder
from telemetry.logs import log
from telemetry.record import EventRecord, RequestRecord
from telemetry.retention import drop_expired

from .teaching import Teaching

IDLE_S = 0.25  # a decision is visible everywhere within a second; this is its share
SHARE_S = 0.5
SHARE_EFFORT_MAX = 0.05  # of this process's time: 1,000 tasks are 5 MB and take 40 ms to encode
RETENTION_S = 60.0
RETRY_S = 1.0
LOCK_S = 0.2  # a start does not wait longer than this for a command that folds

T = TypeVar("T")


class Folding:
    """`run` folds until it is cancelled, `finish` folds the rest. `share` gets learned bytes."""

    def __init__(
        self, directory: Path, *, keep_s: float | None, share: Callable[[bytes], None]
    ) -> None:
        self.keep_s = keep_s
        self.folded = 0
        self.damages = 0
        self.failures = 0
        self.last_error: str | None = None
        self._directory = directory
        self._share = share
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fold")
        self._folder: Folder | None = None
        self._teaching = Teaching()
        self._is_unshared = True
        self._share_due_s = self._retained_s = 0.0

    async def open(self) -> None:
        """Open the store (migrating it where it is older) and load what was learned.

        Where a command is folding at this moment, or the disk is full, `run` opens it when that
        is over. Raises StoreError for a store that cannot be used.
        """
        try:
            await self._in_thread(self._open)
        except Locked:
            return
        except (sqlite3.OperationalError, OSError) as error:
            self._note_failure(error)

    async def run(self) -> None:
        """Fold, save, share and forget, for ever. An error is counted, logged and tried again.

        Forgetting does not wait for the fold: on a full disk it may be what makes room.
        """
        while True:
            pause_s = await self._attempt(self._fold_and_share())
            pause_s = max(pause_s, await self._attempt(self._drop_if_due()))
            if pause_s:
                await asyncio.sleep(pause_s)

    async def _attempt(self, work: Awaitable[float]) -> float:
        """How long to wait before the next round; what `work` says, or longer where it failed."""
        try:
            return await work
        except Exception as error:  # noqa: BLE001 (boundary: the fold must go on)
            self._note_failure(error)
            return RETRY_S

    async def _fold_and_share(self) -> float:
        has_more = await self._in_thread(self._fold_once)
        await self._share_if_due()
        return 0.0 if has_more else IDLE_S

    async def finish(self, timeout_s: float) -> None:
        """Fold what is left, save what was learned, close the store."""
        try:
            async with asyncio.timeout(timeout_s):
                while await self._in_thread(self._fold_once):
                    continue
        except TimeoutError:
            log("fold_unfinished", level="warning", timeout_s=timeout_s)
        except Exception as error:  # noqa: BLE001 (boundary: the rest is folded at the next start)
            self._note_failure(error)
        await self._in_thread(self._close)
        self._thread.shutdown()

    async def learned_bytes(self) -> bytes:
        """What is learned so far."""
        return await self._in_thread(lambda: self._teaching.learned.to_bytes(time.time()))

    async def learned_summary(self) -> object:
        """What is known of each backend, in figures."""
        return await self._in_thread(self._learned_summary)

    async def note(self, event: EventRecord) -> None:
        """Keep an event of the keeper's own. Where the store cannot take it, the log has it."""
        try:
            await self._in_thread(lambda: self._note(event))
        except (Locked, sqlite3.Error, OSError) as error:
            self._note_failure(error)

    def state(self) -> dict[str, object]:
        """For `/state`."""
        return {
            "folded": self.folded,
            "damages": self.damages,
            "failures": self.failures,
            "last_error": self.last_error,
        }

    # -- in the fold's thread --------------------------------------------------------------

    def _learned_summary(self) -> object:
        return self._teaching.learned.summary()

    def _open(self) -> None:
        if self._folder is not None:
            return
        self._folder = Folder(self._directory, observer=self._observe, lock_timeout_s=LOCK_S)
        self._teaching.load(self._folder)

    def _fold_once(self) -> bool:
        """One pass; whether there is more to fold right now. Raises Locked."""
        self._open()
        assert self._folder is not None  # `_open` made it
        report = self._folder.fold_once()
        self.folded += report.records
        for damage in report.damages:
            self.damages += 1
            log("journal_damage", level="warning", damage=damage)
        return report.has_more

    def _note(self, event: EventRecord) -> None:
        self._open()
        assert self._folder is not None  # `_open` made it
        self._folder.note(event)

    def _observe(self, record: RequestRecord) -> None:
        self._teaching.observe(record)
        self._is_unshared = self._is_unshared or self._teaching.is_unsaved

    def _save(self) -> bytes:
        self._open()
        assert self._folder is not None  # `_open` made it
        return self._teaching.save(self._folder)

    def _close(self) -> None:
        if self._folder is not None:
            if self._teaching.is_unsaved:
                self._save()
            self._folder.close()
            self._folder = None

    # -- when something is due -------------------------------------------------------------

    async def _share_if_due(self) -> None:
        """Saved before it is shared: what a worker has decided by is not forgotten by a kill."""
        now_s = time.monotonic()
        if self._is_unshared and now_s >= self._share_due_s:
            self._share(await self._in_thread(self._save))
            self._is_unshared = False
            spent_s = time.monotonic() - now_s
            self._share_due_s = now_s + max(SHARE_S, spent_s / SHARE_EFFORT_MAX)

    async def _drop_if_due(self) -> float:
        now_s = time.monotonic()
        if self.keep_s is None or now_s - self._retained_s < RETENTION_S:
            return 0.0
        self._retained_s = now_s
        keep_s = self.keep_s
        dropped = await self._in_thread(
            lambda: drop_expired(self._directory, keep_s=keep_s, now_s=time.time())
        )
        if dropped:
            log("expired_days_dropped", files=[path.name for path in dropped])
        return 0.0

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _note_failure(self, error: Exception) -> None:
        self.failures += 1
        self.last_error = f"{type(error).__name__}: {error}"
        log("fold_failed", level="error", error=self.last_error)
