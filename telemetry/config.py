"""The `capture:` section: where records are kept, how surely and for how long."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from pointsman.decoding import Findings, Section, choice, duration_s, text
from pointsman.document import Node

Durability = Literal["process", "power"]
OnError = Literal["fail_open", "fail_closed"]

DIRECTORY_DEFAULT = "data"
KEEP_S_DEFAULT = 30 * 86_400.0
KEEP_S_MIN = 86_400.0  # the store forgets whole days


@dataclass(frozen=True, slots=True)
class CaptureConfig:
    """How requests are kept.

    `process` durability survives the death of every process, `power` also that of the
    machine. `fail_open` serves on when the disk refuses and counts what is missing,
    `fail_closed` answers 503. `keep_s` is None where records are kept for ever.
    """

    directory: Path
    durability: Durability = "process"
    on_error: OnError = "fail_open"
    keep_s: float | None = KEEP_S_DEFAULT


def load_capture(node: Node | None, *, findings: Findings, directory: Path) -> CaptureConfig:
    """Decode the section; `directory` is the file's own folder, from which paths count."""
    if node is None:
        return CaptureConfig(directory / DIRECTORY_DEFAULT)
    section = Section(node, findings, "capture")
    config = CaptureConfig(
        directory=directory / section.read("directory", _path, Path(DIRECTORY_DEFAULT)),
        durability=cast(
            Durability, section.read("durability", choice("process", "power"), "process")
        ),
        on_error=cast(
            OnError, section.read("on_error", choice("fail_open", "fail_closed"), "fail_open")
        ),
        keep_s=section.read("keep", _keep_s, KEEP_S_DEFAULT),
    )
    section.done()
    return config


def _path(node: Node) -> Path:
    value = text(node)
    if not value.strip():
        raise ValueError("expected a path")
    return Path(value)


def _keep_s(node: Node) -> float | None:
    """`30d`, or `forever`."""
    if text(node) == "forever":
        return None
    value = duration_s(node)
    if value < KEEP_S_MIN:
        raise ValueError(f"{text(node)!r} is shorter than a day; records are dropped by whole days")
    return value
