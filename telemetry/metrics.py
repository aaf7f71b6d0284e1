"""Counters as Prometheus text, from plain dictionaries; nothing here counts by itself.

A key is `(name, ((label, value), ...))`. Label sets are closed: routes, backends, status words;
never a caller, a model name as asked for, or a path, which a client could invent without end.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from .journal_counters import JournalCounters

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]
Counters = dict[Key, float]

SAMPLES_MAX: Final = 20_000  # a scrape of 2 MB; more means a label set that is not closed

CAPTURE_HELP: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pointsman_capture_written_total": "Request records written to the journal.",
        "pointsman_capture_dropped_total": "Requests answered although they could not be kept.",
        "pointsman_capture_refused_total": "Requests refused because they could not be kept.",
        "pointsman_capture_parts_dropped_total": "Pieces of long answers that were not kept.",
        "pointsman_capture_events_dropped_total": "Feedback, labels and events not kept.",
        "pointsman_capture_bytes_total": "Payload bytes written to the journal.",
        "pointsman_capture_write_errors_total": "Writes to the journal that failed.",
        "pointsman_capture_sync_errors_total": "Syncs of the journal that failed.",
        "pointsman_capture_segments_total": "Journal segments begun.",
        "pointsman_capture_queue_bytes": "Bytes waiting to be written or synced.",
    }
)


def journal_counters(counters: JournalCounters, labels: Labels = ()) -> Counters:
    """A journal's counts under their metric names."""
    values = {
        "pointsman_capture_written_total": counters.written,
        "pointsman_capture_dropped_total": counters.dropped,
        "pointsman_capture_refused_total": counters.refused,
        "pointsman_capture_parts_dropped_total": counters.parts_dropped,
        "pointsman_capture_events_dropped_total": counters.events_dropped,
        "pointsman_capture_bytes_total": counters.bytes_written,
        "pointsman_capture_write_errors_total": counters.write_errors,
        "pointsman_capture_sync_errors_total": counters.sync_errors,
        "pointsman_capture_segments_total": counters.segments,
        "pointsman_capture_queue_bytes": counters.queue_bytes,
    }
    return {(name, labels): float(value) for name, value in values.items()}


def merged(snapshots: Iterable[Counters]) -> Counters:
    """The sum of several processes' counters."""
    total: Counters = {}
    for snapshot in snapshots:
        for key, value in snapshot.items():
            total[key] = total.get(key, 0.0) + value
    return total


def exposition(counters: Mapping[Key, float], help_texts: Mapping[str, str] = CAPTURE_HELP) -> str:
    """Text format 0.0.4: families in order of name, each with its type.

    A name ending in `_total` is a counter; `X_bucket`, `X_sum` and `X_count` are the histogram
    X; all else are gauges. At most SAMPLES_MAX samples, then a comment says how many are left out.
    """
    histograms = {name.removesuffix("_bucket") for name, _ in counters if name.endswith("_bucket")}
    families: dict[str, list[tuple[Key, float]]] = {}
    for key in sorted(counters, key=_order):
        families.setdefault(_family(key[0], histograms), []).append((key, counters[key]))
    lines: list[str] = []
    for family, samples in families.items():
        if family in help_texts:
            lines.append(f"# HELP {family} {help_texts[family]}")
        lines.append(f"# TYPE {family} {_type(family, histograms)}")
        lines += [_sample(name, labels, value) for (name, labels), value in samples]
    if len(lines) > SAMPLES_MAX:
        lines[SAMPLES_MAX:] = [f"# {len(lines) - SAMPLES_MAX} lines left out"]
    return "\n".join([*lines, ""])


def _order(key: Key) -> tuple[str, list[tuple[str, float, str]]]:
    """By name and labels; `le` by its number, as readers of histograms expect."""
    name, labels = key
    return name, [
        (label, _number(value) if label == "le" else 0.0, value) for label, value in labels
    ]


def _number(text: str) -> float:
    return float("inf") if text == "+Inf" else float(text)


def _family(name: str, histograms: set[str]) -> str:
    for suffix in ("_bucket", "_sum", "_count"):
        if name.removesuffix(suffix) in histograms:
            return name.removesuffix(suffix)
    return name


def _type(family: str, histograms: set[str]) -> str:
    if family in histograms:
        return "histogram"
    return "counter" if family.endswith("_total") else "gauge"


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    number = str(int(value)) if value.is_integer() else repr(value)
    return f"{name}{{{inside}}} {number}" if inside else f"{name} {number}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
