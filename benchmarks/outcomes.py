"""Measured outcomes of a weak and a strong model, as rows; and how a score over them is judged.

The metric is RouteLLM's: eleven thresholds at the score's deciles, the trapezoid between them.
APGR is the area won over always asking the weak model, as a share of what always asking the
strong one wins; 0.5 is chance and above 1 is possible.
"""

import csv
import gzip
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
CUTS = 10


class Outcome(NamedTuple):
    """One request that both models answered; None where it is not known."""

    id: str
    task: str
    prompt: str
    weak: int | None
    strong: int | None
    weak_response: str | None


class Point(NamedTuple):
    """What routing at one threshold comes to."""

    calls: float
    """Share of requests the strong model is asked."""
    accuracy: float


class Figures(NamedTuple):
    """What a score is worth. Calls are shares; None where the accuracy is never reached."""

    apgr: float
    cpt50: float | None
    cpt80: float | None
    near: float | None
    """Calls for 95 % of the strong model's accuracy."""
    beaten: float | None
    """Calls from which on the strong model's own accuracy is exceeded."""


FIELD_CHARACTERS_MAX = 1 << 28
"""Of one prompt or answer; `csv` stops at 131,072 unless told."""


def read_outcomes(path: Path) -> list[Outcome]:
    """Rows of a CSV file, gzipped or not; columns may be missing but id and prompt.

    Raises ValueError where one of these is.
    """
    csv.field_size_limit(FIELD_CHARACTERS_MAX)
    with open_text(path) as file:
        reader = csv.DictReader(file)
        missing = {"id", "prompt"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: no column {' and '.join(sorted(missing))}")
        return [_outcome(row) for row in reader]


def open_text(path: Path):  # type: ignore[no-untyped-def]  # two kinds of text file
    """A CSV file for reading, whatever its ending says of compression."""
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    if is_gzip:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _outcome(row: dict[str, str]) -> Outcome:
    return Outcome(
        row["id"],
        row.get("subject") or "",
        row["prompt"] or "",
        _label(row.get("weak_correct")),
        _label(row.get("strong_correct")),
        row.get("weak_response"),
    )


LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


def _label(text: str | None) -> int | None:
    return LABELS.get((text or "").strip().lower())


def curve(scores: Sequence[float], weak: Sequence[int], strong: Sequence[int]) -> list[Point]:
    """Accuracy by share of strong calls, from none to all, at the score's deciles."""
    ordered = sorted(scores)
    last = len(ordered) - 1
    points = []
    for cut in range(CUTS + 1):
        place = last * cut / CUTS
        low = int(place)
        high = min(low + 1, last)
        limit = ordered[low] + (ordered[high] - ordered[low]) * (place - low)
        taken = [s > limit if cut == CUTS else s >= limit for s in scores]
        right = sum(s if take else w for take, w, s in zip(taken, weak, strong, strict=True))
        points.append(Point(sum(taken) / len(taken), right / len(taken)))
    return sorted(points)


def judge_score(scores: Sequence[float], weak: Sequence[int], strong: Sequence[int]) -> Figures:
    """The figures of one score over rows whose outcomes are known."""
    points = curve(scores, weak, strong)
    base, top = sum(weak) / len(weak), sum(strong) / len(strong)
    area = sum((b.calls - a.calls) * (a.accuracy + b.accuracy) / 2 for a, b in pairwise(points))
    span = points[-1].calls - points[0].calls
    return Figures(
        (area - base * span) / ((top - base) * span),
        calls_for(points, base + 0.5 * (top - base)),
        calls_for(points, base + 0.8 * (top - base)),
        calls_for(points, 0.95 * top),
        calls_for(points, top + 1e-9),
    )


def calls_for(points: Sequence[Point], accuracy: float) -> float | None:
    """The least share of strong calls that reaches an accuracy; straight lines between points."""
    for before, after in pairwise(points):
        if after.accuracy >= accuracy:
            if before.accuracy >= accuracy:
                return before.calls
            rise = (accuracy - before.accuracy) / (after.accuracy - before.accuracy)
            return before.calls + rise * (after.calls - before.calls)
    return None


def mean_figures(several: Sequence[Figures]) -> Figures:
    """Figure by figure; one that is not always reached is None."""
    columns = zip(*several, strict=True)
    means = [None if None in column else sum(column) / len(column) for column in columns]
    return Figures(*means)
