"""What a prediction is asked for, and the cells of the learned state that bear on it."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from .cell import Cell
from .sketch import Mean, Sketch
from .words import Clock

SAMPLES_MIN = 20
"""From this many on, what was measured replaces `expect:`."""


class LatencyQuestion(msgspec.Struct, frozen=True, eq=False):
    """What a route asks of latency. Equal by identity: each compiled route has its own."""

    of: Clock
    quantile: float
    budget_s: float | None
    """None: no limit; the quantile only ranks."""


class Inquiry(NamedTuple):
    """What a prediction depends on, besides the backend; the key of a prediction."""

    question: LatencyQuestion
    task: str
    size: int
    """See `size_bucket`."""
    output_max: int | None
    """The client's limit on output tokens of all choices."""
    load: int = 0
    """See `load.load_bucket`; 0: whatever it is."""


class Cells(NamedTuple):
    """What was learned that bears on one inquiry, narrowest first."""

    task: Cell | None = None
    size: Cell | None = None
    """Answers to prompts of this size, whatever the task: bears on times only."""
    backend: Cell | None = None
    stretch: float = 1.0
    """By what the backend's load makes times longer than they are in all."""


def size_bucket(prompt_bytes: int) -> int:
    """Prompt sizes by powers of four, from 512 bytes to a megabyte."""
    return min(max(prompt_bytes.bit_length() // 2, 5), 10)


def measured_mean(cells: Cells, of: Callable[[Cell], Mean]) -> float | None:
    """The mean in the narrowest cell that has enough samples of it; None without any."""
    for cell in (cells.task, cells.backend):
        if cell is not None and of(cell).count >= SAMPLES_MIN:
            return of(cell).value
    return None


def measured_sketch(sketches: Iterable[Sketch]) -> Sketch | None:
    """The first sketch with enough samples."""
    return next((sketch for sketch in sketches if sketch.count >= SAMPLES_MIN), None)
