"""A benchmark as one HTML page with plots: no script, no outside file. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Final

from .benchmark_advice import Advice
from .benchmark_result import BackendResult, Graded, PairResult
from .intervals import Interval

WIDTH: Final = 720
ROW: Final = 34
LEFT: Final = 130
POINTS_MAX: Final = 400
COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#4b5563")

STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1f2937; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .3rem .8rem; text-align: right;
  border-bottom: 1px solid #e5e7eb } th:first-child, td:first-child { text-align: left }
.met { color: #047857 } .missed { color: #b91c1c } .undecided, .unknown { color: #92400e }
svg { max-width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: #374151 }
pre { background: #f3f4f6; padding: .8rem; overflow-x: auto }
"""


def page(
    graded: Graded,
    results: Sequence[BackendResult],
    pairs: Sequence[PairResult],
    advice: Advice,
    facts: Mapping[str, str],
) -> str:
    """The whole page."""
    colours = {r.backend: COLOURS[i % len(COLOURS)] for i, r in enumerate(results)}
    limits = {
        requirement.name: requirement for result in results for requirement in result.requirements
    }
    error_limit = limits.get("error")
    parts = [
        f"<h1>Benchmark</h1><p><strong>{escape(advice.verdict)}</strong></p>",
        _table(results),
        "<h2>Errors</h2><p>Share of wrong answers, 95 % interval (Wilson).</p>",
        _intervals([(r.backend, r.error) for r in results], colours, 100.0, "%",
                   _percent(error_limit.limit) if error_limit else None),
        "<h2>Cost</h2><p>Dollars per 1,000 requests, 95 % interval (bootstrap).</p>",
        _intervals([(r.backend, r.usd_per_1k) for r in results], colours, 1.0, "$",
                   _dollars(limits["cost"].limit) if "cost" in limits else None),
        "<h2>Latency</h2><p>Share of answers within a time; logarithmic.</p>",
        _latencies(graded, colours),
        _pairs(pairs),
        _advice(advice),
        "<h2>How</h2><table>" + "".join(
            f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in facts.items()
        ) + "</table>",
    ]  # fmt: skip
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Benchmark</title>'
        f"<style>{STYLE}</style>{''.join(parts)}</html>\n"
    )


def _table(results: Sequence[BackendResult]) -> str:
    head = ("backend", "n", "error", "p50", "p95", "first token p50", "$ per 1,000",
            "of it reasoning", "requirements")  # fmt: skip
    rows = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in _cells(result)) + "</tr>"
        for result in results
    )
    return f"<table><tr>{''.join(f'<th>{h}</th>' for h in head)}</tr>{rows}</table>"


def _cells(r: BackendResult) -> list[str]:
    requirements = ", ".join(
        f'<span class="{q.judgement}">{escape(q.name)} {q.judgement}</span>' for q in r.requirements
    )
    error = "-" if r.error is None else (
        f"{r.error.value:.1%} ({r.error.low:.1%}–{r.error.high:.1%})"
    )  # fmt: skip
    return [
        escape(r.backend) + (" (reference)" if r.is_reference else ""),
        str(r.n),
        error,
        _ms(r.p50.value if r.p50 else None),
        _ms(r.p95.value if r.p95 else None),
        _ms(r.first_token_p50_us),
        "-" if r.usd_per_1k is None else f"${r.usd_per_1k.value:.4g}",
        "-" if r.reasoning_usd_per_1k is None else f"${r.reasoning_usd_per_1k:.4g}",
        requirements or "-",
    ]


def _intervals(
    rows: Sequence[tuple[str, Interval | None]],
    colours: Mapping[str, str],
    scale: float,
    unit: str,
    limit: float | None,
) -> str:
    """One line with a dot a backend, on a common axis from zero."""
    known = [(name, interval) for name, interval in rows if interval is not None]
    if not known:
        return "<p>unknown</p>"
    most = max([interval.high * scale for _, interval in known] + [limit or 0.0]) * 1.1 or 1.0
    height = ROW * len(known) + 30

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * value / most

    drawn = [_axis(most, height, unit, x)]
    if limit is not None:
        drawn.append(
            f'<line x1="{x(limit):.1f}" x2="{x(limit):.1f}" y1="0" y2="{height - 22}"'
            ' stroke="#b91c1c" stroke-dasharray="4 3"/>'
        )
    for index, (name, interval) in enumerate(known):
        y = ROW * index + ROW / 2
        low, value, high = (
            x(bound * scale) for bound in (interval.low, interval.value, interval.high)
        )
        drawn.append(
            f'<text x="0" y="{y + 4}">{escape(name)}</text><line x1="{low:.1f}" x2="{high:.1f}"'
            f' y1="{y}" y2="{y}" stroke="{colours[name]}" stroke-width="3"/>'
            f'<circle cx="{value:.1f}" cy="{y}" r="5" fill="{colours[name]}"/>'
        )
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{"".join(drawn)}</svg>'


def _axis(most: float, height: int, unit: str, x: Callable[[float], float]) -> str:
    marks = []
    for step in range(5):
        value = most * step / 4
        text = f"${value:.3g}" if unit == "$" else f"{value:.3g}{unit}"
        marks.append(
            f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="0" y2="{height - 22}"'
            f' stroke="#e5e7eb"/><text x="{x(value):.1f}" y="{height - 6}"'
            f' text-anchor="middle">{text}</text>'
        )
    return "".join(marks)


def _latencies(graded: Graded, colours: Mapping[str, str]) -> str:
    """Cumulative shares over log time, one curve a backend."""
    times = {
        name: sorted(i.total_us / 1e6 for i in items if i and i.error_type in (None, "timeout"))
        for name, items in graded.items.items()
    }
    every = [t for values in times.values() for t in values if t > 0]
    if not every:
        return "<p>unknown</p>"
    low, high = math.log10(min(every)), math.log10(max(every)) + 1e-9
    span = max(high - low, 0.3)
    height = 260

    def x(seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * (math.log10(max(seconds, 1e-6)) - low) / span

    drawn = []
    for step in range(5):
        value = 10 ** (low + span * step / 4)
        drawn.append(
            f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="0" y2="{height - 22}"'
            f' stroke="#e5e7eb"/><text x="{x(value):.1f}" y="{height - 6}"'
            f' text-anchor="middle">{value:.2g} s</text>'
        )
    for index, (name, values) in enumerate(times.items()):
        step_by = max(1, len(values) // POINTS_MAX)
        points = " ".join(
            f"{x(t):.1f},{(height - 30) * (1 - (n + 1) / len(values)) + 5:.1f}"
            for n, t in enumerate(values)
            if n % step_by == 0 or n == len(values) - 1
        )
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{colours[name]}" stroke-width="2"/>'
            f'<text x="0" y="{20 + 18 * index}" style="fill:{colours[name]}">{escape(name)}</text>'
        )
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{"".join(drawn)}</svg>'


def _pairs(pairs: Sequence[PairResult]) -> str:
    if not pairs:
        return ""
    rows = "".join(
        f"<tr><td>{escape(p.first)} / {escape(p.second)}</td><td>{p.n}</td>"
        f"<td>{p.only_first_right}</td><td>{p.only_second_right}</td>"
        f"<td>{p.p_adjusted:.3g}</td></tr>"
        for p in pairs
    )
    return (
        "<h2>Pairs</h2><p>The same questions (exact McNemar, Holm).</p><table><tr><th>pair</th>"
        "<th>n</th><th>only first right</th><th>only second right</th><th>p</th></tr>"
        f"{rows}</table>"
    )


def _advice(advice: Advice) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in advice.lines)
    commands = escape("\n".join(advice.commands))
    return f"<h2>What follows</h2><ul>{lines}</ul>" + (f"<pre>{commands}</pre>" if commands else "")


def _ms(value_us: float | None) -> str:
    return "-" if value_us is None else f"{value_us / 1000:.0f} ms"


def _percent(text: str) -> float:
    return float(text.rstrip("%"))


def _dollars(text: str) -> float:
    """A limit is for one request, the plot for 1,000."""
    return float(text.lstrip("$")) * 1000
