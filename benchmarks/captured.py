"""Reads the captures back: every answered request must be there, once, whole and answered.

A fast proxy that loses records is not fast.
"""

import subprocess
from pathlib import Path

import msgspec

COMMAND_TIMEOUT_S = 600.0


class _Capture(msgspec.Struct):
    id: str
    status: str | None = None
    complete: bool | int | None = None
    http_status: int | None = None
    request_sha256: str | None = None


class Readback(msgspec.Struct, frozen=True):
    """What `pointsman captures --json` listed, against what the load generator was answered."""

    answered: int
    records: int
    distinct_ids: int
    distinct_requests: int  # each request's body has a number of its own
    whole: int  # status ok, complete, HTTP 200

    @property
    def is_exact(self) -> bool:
        """Every answered request is there once, whole."""
        counts = {self.records, self.distinct_ids, self.distinct_requests, self.whole}
        return counts == {self.answered}

    def __str__(self) -> str:
        verdict = "equal" if self.is_exact else "NOT EQUAL"
        return (
            f"{self.answered:,} answered, {self.records:,} records ({self.distinct_ids:,} ids, "
            f"{self.distinct_requests:,} request hashes, {self.whole:,} whole): {verdict}"
        )


def read_back(binary: Path, *, config: Path, answered: int) -> Readback:
    """Counts the captures while they stream by.

    Raises RuntimeError when the command fails.
    """
    ids: set[str] = set()
    requests: set[str | None] = set()
    records = whole = 0
    decoder = msgspec.json.Decoder(_Capture)
    command = [str(binary), "captures", "--json", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            capture = decoder.decode(line)
            records += 1
            ids.add(capture.id)
            requests.add(capture.request_sha256)
            whole += (
                capture.status == "ok" and bool(capture.complete) and capture.http_status == 200
            )
        code = process.wait(COMMAND_TIMEOUT_S)
    if code != 0:
        raise RuntimeError(f"{' '.join(command)} exited with {code} after {records} records")
    return Readback(
        answered=answered,
        records=records,
        distinct_ids=len(ids),
        distinct_requests=len(requests - {None}),
        whole=whole,
    )
