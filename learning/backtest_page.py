"""A backtest as one HTML page: no script, nothing fetched. Intervals as SVG."""

from html import escape

from .backtest import Backtest
from .off_policy import Estimate, Finding

WIDTH = 520
TITLES = {
    "cost_usd": "Cost of a request, $",
    "total_s": "Time, s",
    "error": "Share of wrong answers",
}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:left}"
    ".refused{color:#a00}svg text{font-size:12px}"
)


def page(found: Backtest, *, name: str) -> str:
    """The page. `name` is the new policy's file."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>Backtest of {escape(name)}</title><style>{_STYLE}</style>",
        f"<h1>Backtest of {escape(name)}</h1><p>{found.rows:,} captures decided again.</p>",
    ]
    parts += [_section(TITLES[matter], finding) for matter, finding in found.findings.items()]
    parts.append(_moves(found))
    if found.skipped:
        left_out = "; ".join(f"{escape(why)}: {count:,}" for why, count in found.skipped.items())
        parts.append(f"<p>Left out: {left_out}.</p>")
    return "\n".join(parts) + "\n"


def _section(title: str, finding: Finding) -> str:
    head = (
        f"<h2>{escape(title)}</h2><p>{finding.rows:,} rows, effective sample"
        f" {finding.effective:,.0f}, {finding.differing:,} differing rows took the new choice.</p>"
    )
    if finding.refusal is not None:
        return f'{head}<p class="refused">No estimate: {escape(finding.refusal)}.</p>'
    return head + _plot(finding)


def _plot(finding: Finding) -> str:
    rows = [
        (label, estimate)
        for label, estimate in (
            ("as logged", finding.logged),
            ("new, doubly robust", finding.doubly_robust),
            ("new, SNIPS", finding.snips),
        )
        if estimate is not None
    ]
    low = min(estimate.low for _, estimate in rows)
    high = max(estimate.high for _, estimate in rows)
    span = (high - low) or 1.0
    lines = [_line(label, est, 24 + 34 * n, low, span) for n, (label, est) in enumerate(rows)]
    height = 34 * len(rows) + 12
    return f'<svg viewBox="0 0 700 {height}" role=img>{"".join(lines)}</svg>'


def _line(label: str, estimate: Estimate, y: int, low: float, span: float) -> str:
    def x(value: float) -> float:
        return 160 + (value - low) / span * (WIDTH - 160)

    figures = f"{estimate.value:.4g} ({estimate.low:.4g} to {estimate.high:.4g})"
    return (
        f'<text x="0" y="{y + 4}">{escape(label)}</text>'
        f'<line x1="{x(estimate.low):.1f}" x2="{x(estimate.high):.1f}" y1="{y}" y2="{y}"'
        ' stroke="#357" stroke-width="3"/>'
        f'<circle cx="{x(estimate.value):.1f}" cy="{y}" r="5" fill="#357"/>'
        f'<text x="{WIDTH + 10}" y="{y + 4}">{figures}</text>'
    )


def _moves(found: Backtest) -> str:
    if not found.moves:
        return "<h2>Moves</h2><p>Nothing would go elsewhere.</p>"
    rows = "".join(
        f"<tr><td>{escape(m.old)}<td>{escape(m.new)}<td>{m.requests:,}<td>{escape(m.reason)}"
        for m in found.moves
    )
    return f"<h2>Moves</h2><table><tr><th>from<th>to<th>requests<th>why{rows}</table>"
