"""Where fitted models are kept: one file beside the captures, written aside and renamed.

Not in `learning.db` with what is learned while serving: a command writes it while the keeper
holds that, and every worker reads it without a database.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from .sync import sync_directory

FITTED_FILE: Final = "fitted.model"
BYTES_MAX: Final = 64 << 20
"""No model of ours has a fifth of it; a file that has is not read into every worker."""


def fitted_path(directory: Path) -> Path:
    """The file of a data directory."""
    return directory / FITTED_FILE


def save_fitted(directory: Path, data: bytes) -> None:
    """Replace what was fitted before (0600, atomic, durable). Raises OSError."""
    aside = directory / f".{FITTED_FILE}.{secrets.token_hex(4)}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(fitted_path(directory))
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(directory)


def load_fitted(directory: Path) -> bytes | None:
    """What was fitted last; None where nothing was. Raises OSError."""
    try:
        with fitted_path(directory).open("rb") as file:
            return file.read(BYTES_MAX)
    except FileNotFoundError:
        return None


def start_of_fitted(directory: Path, length: int) -> bytes:
    """Its first bytes; none where there is no file that can be read."""
    try:
        with fitted_path(directory).open("rb") as file:
            return file.read(length)
    except OSError:
        return b""
