"""What follows from a benchmark: who meets every requirement, and what to do where nobody does.

Pure, but for `read_traffic`, which counts captures.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from adapters.backend import Backend

from .benchmark_result import BackendResult
from .captured import Selection, captured_ids
from .label_store import count_labelled

DAY_MS = 86_400_000
STUDENT_COMPLETION_TOKENS = 64.0


class Traffic(msgspec.Struct, frozen=True):
    """What the captures hold of a route."""

    captures: int = 0
    labelled: int = 0
    """Rows whose right answer is known: what a student could learn from."""
    per_day: float | None = None


class Advice(msgspec.Struct, frozen=True):
    """The verdict in words, and the commands that come next."""

    verdict: str
    winner: str | None
    lines: list[str]
    commands: list[str]


def read_traffic(directory: Path, selection: Selection) -> Traffic:
    """Count the captures, those with a known answer, and how many came a day."""
    keys = list(captured_ids(directory, selection))
    if not keys:
        return Traffic()
    first, last = (int(key[0].replace("-", "")[:12], 16) for key in (keys[0], keys[-1]))
    days = max((last - first) / DAY_MS, 1 / 24)
    return Traffic(len(keys), count_labelled(directory, keys), len(keys) / days)


def advise(
    results: Sequence[BackendResult],
    backends: Mapping[str, Backend],
    traffic: Traffic,
    *,
    route: str | None,
) -> Advice:
    """Who should serve the route, and what comes next."""
    known = [result for result in results if result.requirements]
    winners = [result for result in known if result.meets_all]
    lines = [_line(result) for result in known]
    if winners:
        best = min(winners, key=_cost)
        return Advice(
            f"{best.backend} meets every requirement"
            + (f" (so do {_names(winners, best)}, dearer)" if len(winners) > 1 else ""),
            best.backend,
            lines,
            _serving(best, route),
        )
    undecided = [r for r in known if not any(q.judgement == "missed" for q in r.requirements)]
    if undecided:
        return Advice(_undecided(undecided), None, lines, _more(undecided, route))
    if not known:
        return Advice("no requirements to hold them against (see --route)", None, [], [])
    student = _student(results, backends, traffic)
    return Advice(
        "no backend meets every requirement", None, [*lines, *student],
        _training(results, route),
    )  # fmt: skip


def _names(winners: Sequence[BackendResult], best: BackendResult) -> str:
    return ", ".join(result.backend for result in winners if result is not best)


def _line(result: BackendResult) -> str:
    missed = [f"{r.name} ({r.limit})" for r in result.requirements if r.judgement == "missed"]
    open_ = [r for r in result.requirements if r.judgement in ("undecided", "unknown")]
    parts = [f"misses {', '.join(missed)}"] if missed else []
    parts += [f"{r.name} undecided{_needs(r.more_samples)}" for r in open_]
    return f"{result.backend}: {'; '.join(parts) or 'meets every requirement'}"


def _needs(more: int | None) -> str:
    return "" if more is None else f", {more} more samples needed"


def _undecided(undecided: Sequence[BackendResult]) -> str:
    names = ", ".join(result.backend for result in undecided)
    more = [
        requirement.more_samples
        for result in undecided
        for requirement in result.requirements
        if requirement.more_samples is not None
    ]
    return f"undecided: {names} may meet every requirement{_needs(max(more) if more else None)}"


def _cost(result: BackendResult) -> float:
    return result.usd_per_1k.value if result.usd_per_1k else float("inf")


def _surest(results: Sequence[BackendResult]) -> BackendResult:
    return min(results, key=lambda r: r.error.value if r.error else (0 if r.is_reference else 1))


def _serving(best: BackendResult, route: str | None) -> list[str]:
    name = route or "ROUTE"
    return [
        f"# in the configuration: routes.{name}.candidates: [{best.backend}, ...]",
        "pointsman backtest NEW.yaml",
    ]


def _more(undecided: Sequence[BackendResult], route: str | None) -> list[str]:
    needed = [
        result.n + requirement.more_samples
        for result in undecided
        for requirement in result.requirements
        if requirement.more_samples is not None
    ]
    words = f" --route {route}" if route else ""
    return [f"pointsman benchmark{words} --sample {max(needed)}"] if needed else []


def _training(results: Sequence[BackendResult], route: str | None) -> list[str]:
    name = route or "default"
    return [
        f"pointsman label --route {name} --teacher {_surest(results).backend} --budget 5",
        f"pointsman dataset build {name} --route {name}",
        f"pointsman train --dataset {name}@1",
        f"pointsman model serve {name}@1   # its line goes under backends:",
        f"pointsman benchmark --route {name} --dataset {name}@1 --split test --backend {name}-1",
    ]


def _student(
    results: Sequence[BackendResult], backends: Mapping[str, Backend], traffic: Traffic
) -> list[str]:
    """What a fine-tuned model of one's own would save, and what there is to train it on."""
    priced = [result for result in results if result.usd_per_1k is not None]
    lines = []
    if priced:
        teacher = _surest(priced)
        assert teacher.usd_per_1k is not None
        own = _student_usd_per_1k(backends.values())
        saved = teacher.usd_per_1k.value - (own or 0.0)
        text = f"a fine-tuned student in place of {teacher.backend} would save ${saved:.2f}"
        text += " per 1,000 requests" + ("" if own is not None else ", its machine not counted")
        if traffic.per_day is not None:
            text += f", ${saved * traffic.per_day / 1000:.2f} a day at {traffic.per_day:.0f}"
        if saved > 0:
            lines.append(text)
    lines.append(f"the captures hold {traffic.labelled} usable labelled rows of {traffic.captures}")
    return lines


def _student_usd_per_1k(backends: Iterable[Backend]) -> float | None:
    """What 1,000 answers of the cheapest machine paid by the hour cost, by its stated pace."""
    costs = []
    for backend in backends:
        price = backend.price
        pace = backend.tokens_per_second
        if price is not None and price.per_hour is not None and pace:
            tokens = backend.completion_tokens or STUDENT_COMPLETION_TOKENS
            busy_s = (backend.first_token_s or 0.0) + tokens / pace
            costs.append(1000 * price.per_hour / 3600 * busy_s)
    return min(costs) if costs else None
