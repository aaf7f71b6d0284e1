"""Tables for people. rich is loaded only when one is drawn."""

import math
from collections.abc import Iterable, Sequence

import click

CENTS_FROM_USD = 0.1
ROW_CHARACTERS_MAX = 1000
NUMBERS_RIGHT = frozenset("0123456789$-.")


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str | None = None
) -> None:
    """Draw rows under a title, or say that there are none."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = [tuple(map(str, row)) for row in rows]
    if not lines:
        click.echo(f"{title}: none")
        return
    drawn = Table(
        title=title, caption=caption, box=box.SIMPLE, title_justify="left", caption_justify="left"
    )
    for index, column in enumerate(columns):
        is_numeric = all(line[index][:1] in NUMBERS_RIGHT for line in lines if line[index])
        drawn.add_column(column, justify="right" if is_numeric else "left", no_wrap=True)
    for line in lines:
        drawn.add_row(*(Text(printable(cell)) for cell in line))
    console = Console()
    # A row stays a row: where the terminal is narrower, it wraps, and a file has no width at all.
    anything = console.options.update(max_width=ROW_CHARACTERS_MAX)
    console.width = max(console.width, console.measure(drawn, options=anything).maximum)
    console.print(drawn)


def printable(text: str) -> str:
    """Without control characters: what a client wrote must not move a terminal's cursor."""
    return "".join(c if c.isprintable() else "�" for c in text)


def usd(value: float | None) -> str:
    """`$12.50`, `$0.0042`: cents, or three significant digits below; unknown is a dash."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= CENTS_FROM_USD:
        return f"${value:.2f}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"${value:.{digits}f}".rstrip("0")


def milliseconds(value: float | None) -> str:
    """`152`; unknown is a dash."""
    return "-" if value is None else f"{value:.0f}"


def share(value: float | None) -> str:
    """`93.1%`; unknown is a dash."""
    return "-" if value is None else f"{value * 100:.1f}%"
