"""Fitted models into a worker without stalling its loop.

Reading the file and working out its digest happen in a thread; what a thread cannot do without
holding up the loop is done in slices, the loop turning in between.
"""

import asyncio
from pathlib import Path

from policies.fitted import NOTHING_FITTED, Fitted
from policies.fitted_store import (
    DIGEST_BYTES,
    digest_in,
    is_whole,
    loading,
    read_fitted,
)
from telemetry.fitted_file import load_fitted, start_of_fitted
from telemetry.logs import log


async def load_models(directory: Path, known: Fitted) -> Fitted:
    """What was fitted last; `known` where it is that. A damaged file is none, and logged."""
    data = await asyncio.to_thread(_read, directory, known.digest)
    if data is None:
        return known
    try:
        for fitted in loading(data) if data else ():
            if fitted is not None:
                return fitted
            await asyncio.sleep(0)
    except ValueError as error:
        _report(error)
    return NOTHING_FITTED


def load_models_now(directory: Path) -> Fitted:
    """The same at once, for who has nobody waiting yet."""
    try:
        data = _read(directory, None)
        return read_fitted(data) if data else NOTHING_FITTED
    except ValueError as error:
        _report(error)
        return NOTHING_FITTED


def _read(directory: Path, known: str | None) -> bytes | None:
    """The file's content; empty where there is none that is whole, None where it is the known."""
    if digest_in(start_of_fitted(directory, DIGEST_BYTES)) == known:
        return None
    try:
        data = load_fitted(directory)
    except OSError as error:
        _report(error)
        return b""
    if data and not is_whole(data):
        _report(ValueError("its digest is not that of what it holds"))
        return b""
    return data or b""


def _report(error: Exception) -> None:
    log("fitted_unusable", level="error", error=str(error), hint="run `pointsman fit` again")
