"""The configuration in force, kept in the data directory for processes that start later.

The operator may be half-way through an edit when a worker is restarted; so what was last found
good is written here in one step, and workers read only this. `generation` counts the reloads
of one run of the supervisor.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from .configuration import Configuration, parse_configuration
from .keys import Keys, keys_from_text, write_private

FILE_NAME = "active.json"


class Active(msgspec.Struct, frozen=True):
    """What `active.json` holds. `file` and `keys_file` say where the texts came from."""

    generation: int
    file: str
    text: str
    keys_text: str | None = None
    """Digests only; None where no key is asked for."""
    lock_text: str | None = None
    """What is promised, and its proof; None where nothing is."""
    model: str = ""
    """Digest of the fitted models that were there with it."""


def write_active(directory: Path, active: Active) -> None:
    """Replace the active configuration (0600, atomic, durable)."""
    write_private(directory / FILE_NAME, msgspec.json.format(msgspec.json.encode(active)))


def read_active(directory: Path) -> Active:
    """The active configuration. OSError or msgspec.MsgspecError where there is none."""
    return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=Active)


def build_active(
    active: Active, *, environment: Mapping[str, str] = os.environ
) -> tuple[Configuration, Keys | None]:
    """Parse what was kept. Raises ConfigError or KeyFileError, as the first parse would."""
    configuration = parse_configuration(
        active.text, file=Path(active.file), environment=environment, lock=active.lock_text
    )
    if configuration.keys_file is None:
        return configuration, None
    return configuration, keys_from_text(active.keys_text or "", configuration.keys_file)
