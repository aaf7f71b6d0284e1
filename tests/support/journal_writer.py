"""A worker's stand-in to be killed: appends records for ever, says on stdout what was released.

python -m tests.support.journal_writer DIRECTORY WORKER DURABILITY
"""

import asyncio
import os
import random
import sys
from pathlib import Path

import uvloop

from telemetry.ids import new_id
from telemetry.journal import Journal
from telemetry.record import BodyPart
from tests.support.records import digest, make_record


async def write_for_ever(directory: Path, worker: int, durability: str) -> None:
    """A line `id request_sha256 response_sha256` a released record, written at once."""
    loop = asyncio.get_running_loop()
    journal = Journal(
        directory,
        node="here",
        worker=worker,
        durability="power" if durability == "power" else "process",
        loop=loop,
        segment_bytes_max=200_000,
    )
    while True:
        for _ in range(random.randrange(1, 20)):
            append_one(journal)
        await asyncio.sleep(0)


def append_one(journal: Journal) -> None:
    """One record; every tenth answer comes in parts."""
    identifier = new_id()
    request = os.urandom(random.randrange(2000))
    pieces = [os.urandom(random.randrange(3000)) for _ in range(random.choice((1,) * 9 + (4,)))]
    line = f"{identifier} {digest(request)} {digest(b''.join(pieces))}\n".encode()
    for index, piece in enumerate(pieces[:-1]):
        journal.append_part(BodyPart(identifier, index, piece))
    record = make_record(
        id=identifier, request=request, response=pieces[-1], response_parts=len(pieces) - 1
    )
    journal.append(record, lambda is_kept: is_kept and os.write(1, line))


if __name__ == "__main__":
    uvloop.run(write_for_ever(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
