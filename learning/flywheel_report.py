"""The flywheel's table before and after, and whether it did what it is for. Pure."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from .calibrate import accepted_words
from .flywheel_config import TALK_BUDGET
from .flywheel_traffic import Outcome
from .intervals import wilson

ERROR_MAX: Final = 0.09
COLUMNS: Final = ("", "n", "error", "95 %", "p50", "p90", "p95", "per 1,000", "answered by")


class Line(NamedTuple):
    """One way to answer the calls. Seconds, dollars; None is unknown."""

    name: str
    n: int
    wrong: int
    p50_s: float
    p90_s: float
    p95_s: float
    usd_per_1k: float | None
    shares: Mapping[str, float]

    @property
    def error(self) -> float:
        """Share of wrong answers."""
        return self.wrong / self.n if self.n else 1.0


def of_benchmark(result: Mapping[str, Any], name: str | None = None) -> Line:
    """A line of what `pointsman benchmark --json` said of a backend."""
    cost = result["usd_per_1k"]
    return Line(
        name or str(result["backend"]),
        int(result["n_judged"]),
        int(result["n_err"]),
        result["p50"][0] / 1e6,
        result["p90_us"] / 1e6,
        result["p95"][0] / 1e6,
        None if cost is None else cost[0],
        {str(result["backend"]): 1.0},
    )


def of_outcomes(outcomes: Sequence[Outcome], name: str) -> Line:
    """A line of calls through the proxy, latencies as the app saw them."""
    ordered = sorted(one.latency_s for one in outcomes)
    costs = [one.cost_usd for one in outcomes]
    known = [cost for cost in costs if cost is not None]
    served = Counter(one.backend or "nobody" for one in outcomes)
    return Line(
        name,
        len(outcomes),
        sum(not one.is_right for one in outcomes),
        quantile(ordered, 0.5),
        quantile(ordered, 0.9),
        quantile(ordered, 0.95),
        1000 * sum(known) / len(known) if len(known) == len(costs) and known else None,
        {backend: count / len(outcomes) for backend, count in served.most_common()},
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value with at least `share` at or below it."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def table(lines: Sequence[Line]) -> list[str]:
    """The lines with their heads, in columns."""
    rows = [COLUMNS, *map(cells, lines)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    return [
        "  ".join(
            cell.ljust(width) if place in (0, len(COLUMNS) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def cells(line: Line) -> tuple[str, ...]:
    """One line's figures in words."""
    interval = wilson(line.wrong, line.n)
    return (
        line.name,
        str(line.n),
        f"{line.error:.1%}",
        f"{interval.low:.1%}-{interval.high:.1%}",
        *(f"{span_s * 1000:.0f} ms" for span_s in (line.p50_s, line.p90_s, line.p95_s)),
        "-" if line.usd_per_1k is None else f"${line.usd_per_1k:.3f}",
        ", ".join(f"{name} {share:.0%}" for name, share in line.shares.items()),
    )


def faults(routed: Line, before: Sequence[Line], budget_s: float) -> list[str]:
    """What the routed line misses of what it is for."""
    found = []
    if routed.error > ERROR_MAX:
        found.append(f"error {routed.error:.1%} is above {ERROR_MAX:.0%}")
    if routed.p90_s > budget_s:
        found.append(f"p90 {routed.p90_s * 1000:.0f} ms is above its {budget_s * 1000:.0f} ms")
    for other in before:
        if routed.p90_s >= other.p90_s:
            found.append(f"p90 is not below that of {other.name}")
        if routed.usd_per_1k is None or (other.usd_per_1k or 0.0) <= routed.usd_per_1k:
            found.append(f"cost is not below that of {other.name}")
    return found


def verdict(routed: Line, found: Sequence[str], budget: str, escalated: float) -> str:
    """The last words."""
    tail = (
        f"budget p90 <= {budget} on this machine (the talk's: {TALK_BUDGET});"
        f" p95 {routed.p95_s * 1000:.0f} ms, escalated {escalated:.1%}"
    )
    if found:
        return f"MISSED: {'; '.join(found)}; {tail}"
    return f"met: error <= {ERROR_MAX:.0%}, p90 and cost below both; {tail}"


def proof(lock: Mapping[str, Any]) -> str:
    """What `pointsman calibrate --json` proved, in words."""
    if lock["refused"]:
        return f"no promise: {lock['reason']}"
    return (
        f"certified: error at most {lock['max']:.0%} at {lock['confidence']:.0%}"
        f" ({lock['errors']} wrong of {lock['labels']} labels, bound {lock['bound']:.1%});"
        f" {accepted_words(lock['accept'])}"
    )
