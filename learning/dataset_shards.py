"""Ranges of captures read by several processes: `python -m learning.dataset_shards`.

    job, then a range a line -> a process's standard input
    a report a line          <- its standard output

Processes of their own and not forks: whoever builds may have threads (a progress bar's). One that
is left alone ends with its standard input. What is read is the same on one core and on many: the
reports come in the order of the ranges, and the files of each are its own.
"""

import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

import msgspec

from .dataset_scan import ScanJob, Shard, ShardReport, scan
from .dataset_spec import DatasetError
from .token_count import TokenCounter

PROCESSES_MAX: Final = 4  # each takes some 100 MB
ALONE_ROWS: Final = 20_000
"""Fewer are read before a second process would have begun."""
AHEAD: Final = 2  # ranges a process has before it, so that it never waits for the next
GARBAGE_OBJECTS: Final = 50_000  # rows hold no cycles; looked for as often as usual they cost 5 %
GRACE_S: Final = 10.0

Progress = Callable[[int], None]


class Failed(msgspec.Struct):
    """The operating system refused something to a process."""

    errno: int
    message: str
    file: str


class Reply(msgspec.Struct):
    """What a process says of a range."""

    report: ShardReport | None = None
    failed: Failed | None = None


_encode = msgspec.json.Encoder().encode
_decode_job = msgspec.json.Decoder(ScanJob).decode
_decode_shard = msgspec.json.Decoder(Shard).decode
_decode_reply = msgspec.json.Decoder(Reply).decode


def scan_all(
    job: ScanJob, shards: Sequence[Shard], counter: TokenCounter, progress: Progress
) -> Iterator[ShardReport]:
    """A report a range, in their order; `progress(captures read)`. Raises DatasetError, OSError."""
    count = min(PROCESSES_MAX, len(shards), len(os.sched_getaffinity(0)))
    if count < 2 or sum(shard.rows for shard in shards) < ALONE_ROWS:
        yield from _alone(job, shards, counter, progress)
        return
    done = 0
    with ExitStack() as stack:
        readers = [stack.enter_context(_Reader(job, shards[n::count])) for n in range(count)]
        for shard in shards:
            report = readers[shard.number % count].report()
            done += report.captures
            progress(done)
            yield report


def _alone(
    job: ScanJob, shards: Sequence[Shard], counter: TokenCounter, progress: Progress
) -> Iterator[ShardReport]:
    done = 0
    for shard in shards:
        before = done
        report = scan(job, shard, counter, lambda read, before=before: progress(before + read))  # type: ignore[misc]
        done += report.captures
        yield report


class _Reader:
    """A process that reads some ranges; a context manager that ends it."""

    def __init__(self, job: ScanJob, shards: Sequence[Shard]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[1],  # this `learning` and no other
        )
        self._lines = iter([_encode(line) + b"\n" for line in (job, *shards)])

    def __enter__(self) -> Self:
        for _ in range(1 + AHEAD):
            self._send()
        return self

    def _send(self) -> None:
        """The next line; standard input stays open, for its end would be the process's."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: `report` will tell
            self._process.stdin.write(next(self._lines, b""))
            self._process.stdin.flush()

    def report(self) -> ShardReport:
        """Of the next range. Raises OSError as the process met it, DatasetError where it died."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            self._send()
        else:
            code = self._process.wait()
            raise DatasetError(f"a reading process ended early (exit code {code}); build again")
        reply = _decode_reply(line)
        if reply.failed is not None:
            raise OSError(reply.failed.errno, reply.failed.message, reply.failed.file)
        assert reply.report is not None
        return reply.report

    def __exit__(self, *_: object) -> None:
        process = self._process
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what it was not told any more
                    pipe.close()


def main() -> None:
    """Read ranges until standard input ends."""
    gc.set_threshold(GARBAGE_OBJECTS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who started us will end us
    source, output = sys.stdin.buffer, sys.stdout.buffer
    job = _decode_job(source.readline())
    counter = TokenCounter(None if job.tokenizer is None else Path(job.tokenizer))
    with contextlib.suppress(BrokenPipeError):  # nobody waits any more
        for line in source:
            output.write(_encode(_reply(job, _decode_shard(line), counter)) + b"\n")
            output.flush()


def _reply(job: ScanJob, shard: Shard, counter: TokenCounter) -> Reply:
    try:
        return Reply(scan(job, shard, counter, lambda read: None))
    except OSError as error:
        file = str(error.filename or job.folder)
        return Reply(failed=Failed(error.errno or 0, error.strerror or str(error), file))


if __name__ == "__main__":
    main()
