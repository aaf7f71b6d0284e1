"""`trials.json` in the data directory: where canaries and the watches over promises stand.

Written aside and renamed, by the keeper alone (by a command where no server runs). It holds how
far the store had been read together with what came of it, so that after a kill at any moment
every answer counts once. Workers read it when they start, for a keeper may be away just then.
"""

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import msgspec

from policies.canary_run import Arm, CanaryRun, arm_of
from policies.lock import Lock, RouteLock
from policies.monitor import PromiseWatch
from telemetry.cursor import Cursor
from telemetry.logs import log

from .keys import write_private

FILE_NAME = "trials.json"
FORMAT = 1

Refuted = Mapping[str, Mapping[str, str]]
"""Why a proof counts no more, by route and proof."""


class Trials(msgspec.Struct, frozen=True):
    """Everything the keeper knows of canaries and promises. By route."""

    cursor: Cursor = Cursor()
    runs: dict[str, CanaryRun] = {}
    units: dict[str, list[int]] = {}
    """Conversations a canary has had a first answer of, newest last."""
    watches: dict[str, PromiseWatch] = {}
    refuted: dict[str, dict[str, str]] = {}
    """Why a promise was withdrawn, by the proof it was made by; the latest last."""
    format: int = FORMAT


_decode = msgspec.json.Decoder(Trials).decode


def read_trials(directory: Path) -> Trials | None:
    """As last written; None where there is none, or none that can be read (which is logged)."""
    try:
        trials = _decode((directory / FILE_NAME).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        log("trials_unreadable", level="error", error=str(error))
        return None
    if trials.format != FORMAT:
        log("trials_unreadable", level="error", error=f"format {trials.format}, not {FORMAT}")
        return None
    return trials


def write_trials(directory: Path, trials: Trials) -> None:
    """Keep it: atomic and durable."""
    write_private(directory / FILE_NAME, msgspec.json.encode(trials))


def arms_of(trials: Trials) -> dict[str, Arm]:
    """What the workers do with canaries."""
    arms = {name: arm_of(run) for name, run in trials.runs.items()}
    return {name: arm for name, arm in arms.items() if arm is not None}


def proof_id(proof: RouteLock) -> str:
    """Names a proof."""
    return blake2b(msgspec.json.encode(proof), digest_size=8).hexdigest()


def suspended_in(lock: Lock, refuted: Refuted) -> dict[str, str]:
    """Whose proof in the lock was refuted, and how."""
    found = {}
    for route, proof in lock.routes.items():
        reason = refuted.get(route, {}).get(proof_id(proof))
        if reason is not None:
            found[route] = reason
    return found


def without_former(lock: Lock, refuted: Refuted) -> list[str]:
    """Routes whose former proof was refuted as well."""
    return [
        route for route, proof in lock.former.items() if proof_id(proof) in refuted.get(route, {})
    ]
