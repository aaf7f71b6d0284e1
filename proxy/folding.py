"""The keeper's fold: journals into the store, and every folded record into what is learned.

It runs in one thread of its own, so that a large batch does not keep the admin listener waiting
and store and learned state are touched by that thread alone.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from policies.learned import Learned
from telemetry.errors import Locked
from telemetry.fold import Folder
from telemetry.logs import log
from telemetry.record import RequestRecord
from telemetry.retention import drop_expired

from .observing import observations

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
        self._learned = Learned()
        self._is_unshared = True
        self._is_unsaved = False
        self._share_due_s = self._retained_s = 0.0

    async def open(self) -> None:
        """Open the store (migrating it where it is older) and load what was learned.

        Where a command is folding at this moment, `run` opens it when that is done. Raises
        StoreError for a store that cannot be used.
        """
        with suppress(Locked):
            await self._in_thread(self._open)

    async def run(self) -> None:
        """Fold, save, share and forget, for ever. An error is counted, logged and tried again."""
        while True:
            try:
                has_more = await self._in_thread(self._fold_once)
                await self._share_if_due()
                await self._drop_if_due()
            except Exception as error:  # noqa: BLE001 (boundary: the fold must go on)
                self._note_failure(error)
                await asyncio.sleep(RETRY_S)
            else:
                if not has_more:
                    await asyncio.sleep(IDLE_S)

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
        return await self._in_thread(lambda: self._learned.to_bytes(time.time()))

    async def learned_summary(self) -> object:
        """What is known of each backend, in figures."""
        return await self._in_thread(self._learned_summary)

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
        return self._learned.summary()

    def _open(self) -> None:
        if self._folder is not None:
            return
        self._folder = Folder(self._directory, observer=self._observe, lock_timeout_s=LOCK_S)
        data = self._folder.load_learned()
        if data is not None:
            self._learned = Learned.from_bytes(data)

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

    def _observe(self, record: RequestRecord) -> None:
        for observation in observations(record):
            self._learned.observe(observation, record.ts_us / 1e6)
            self._is_unshared = self._is_unsaved = True

    def _save(self) -> bytes:
        data = self._learned.to_bytes(time.time())
        if self._folder is not None:
            self._folder.save_learned(data)
            self._is_unsaved = False
        return data

    def _close(self) -> None:
        if self._folder is not None:
            if self._is_unsaved:
                self._save()
            self._folder.close()
            self._folder = None

    # -- when something is due -------------------------------------------------------------

    async def _share_if_due(self) -> None:
        """Saved before it is shared: what a worker has decided by is not forgotten by a kill."""
        now_s = time.monotonic()
        if self._is_unshared and now_s >= self._share_due_s:
            self._is_unshared = False
            self._share(await self._in_thread(self._save))
            spent_s = time.monotonic() - now_s
            self._share_due_s = now_s + max(SHARE_S, spent_s / SHARE_EFFORT_MAX)

    async def _drop_if_due(self) -> None:
        now_s = time.monotonic()
        if self.keep_s is None or now_s - self._retained_s < RETENTION_S:
            return
        self._retained_s = now_s
        keep_s = self.keep_s
        dropped = await self._in_thread(
            lambda: drop_expired(self._directory, keep_s=keep_s, now_s=time.time())
        )
        if dropped:
            log("expired_days_dropped", files=[path.name for path in dropped])

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _note_failure(self, error: Exception) -> None:
        self.failures += 1
        self.last_error = f"{type(error).__name__}: {error}"
        log("fold_failed", level="error", error=self.last_error)
