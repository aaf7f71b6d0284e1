"""The losses of a training run as an SVG picture. Pure."""

from collections.abc import Sequence
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 240
LEFT: Final = 60
BOTTOM: Final = 30
MARKS: Final = 4


def loss_plot(losses: Sequence[float]) -> str:
    """Loss by step, and its running mean over a tenth of the run."""
    most = max(losses, default=1.0) or 1.0
    steps = max(1, len(losses) - 1)

    def point(step: float, loss: float) -> str:
        x = LEFT + (WIDTH - LEFT - 10) * step / steps
        y = 10 + (HEIGHT - BOTTOM - 10) * (1 - loss / most)
        return f"{x:.1f},{y:.1f}"

    mean = _running_mean(losses, max(1, len(losses) // 10))
    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" points="'
        + " ".join(point(step, loss) for step, loss in enumerate(values))
        + '"/>'
        for values, colour, width in ((losses, "#93c5fd", 1), (mean, "#1d4ed8", 2))
    )
    marks = "".join(_mark(most * n / MARKS, most) for n in range(MARKS + 1))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="system-ui, sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{marks}{lines}'
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 8}" text-anchor="end">{len(losses)} steps</text>'
        "</svg>\n"
    )


def _mark(loss: float, most: float) -> str:
    y = 10 + (HEIGHT - BOTTOM - 10) * (1 - loss / most)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{loss:.3g}</text>'
    )


def _running_mean(losses: Sequence[float], span: int) -> list[float]:
    found = []
    for step in range(len(losses)):
        window = losses[max(0, step - span + 1) : step + 1]
        found.append(sum(window) / len(window))
    return found
