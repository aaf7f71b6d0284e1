"""`pointsman captures`."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from .options import Ago, Label, config_option, json_option, read_config
from .output import milliseconds, printable, share, table, usd

Capture = Mapping[str, Any]

COLUMNS = ("time", "route", "backend", "status", "http", "tokens", "cost", "sure", "ms", "id")
TABLE_ROWS_MAX = 1000  # a table is measured as a whole; beyond, lines are printed as they come


@click.command("captures", short_help="Show what was kept of every request.")
@config_option
@json_option
@click.option("--limit", type=click.IntRange(1), help="The newest N only.")
@click.option("--since", type=Ago(), help="Younger than this, as 1h or 2d.")
@click.option("--route", help="Of one route.")
@click.option(
    "--label", "labels", multiple=True, type=Label(), help="With this label, as task=extract-1."
)
@click.option("--bodies", is_flag=True, help="With request and response (needs --json).")
@click.option("--follow", is_flag=True, help="Go on with what comes, until interrupted.")
def command(
    *,
    config: Path,
    as_json: bool,
    limit: int | None,
    since: float | None,
    route: str | None,
    labels: tuple[tuple[str, str], ...],
    bodies: bool,
    follow: bool,
) -> None:
    """Show what was kept of every request, oldest first.

    Everything answered before the command began is there, whether the server runs or not.

    \b
    Example:
      pointsman captures --limit 10
      pointsman captures --label task=extract-1 --since 1d
      pointsman captures --json --bodies --since 1h > captures.jsonl
    """
    from proxy.teaching import catch_up
    from telemetry import queries

    if bodies and not as_json:
        raise click.UsageError("--bodies needs --json: they do not fit into a table")
    directory = read_config(config).capture.directory
    catch_up(directory)
    since_us = None if since is None else int(since * 1_000_000)
    now = queries.folded_until(directory)
    found = queries.captures(
        directory,
        limit=limit,
        since_us=since_us,
        route=route,
        labels=dict(labels),
        until=now,
        bodies=bodies,
    )
    if as_json:
        print_each(found, print_json)
    else:
        draw(found)
    if follow:
        new = queries.follow(
            directory,
            behind=now,
            route=route,
            labels=dict(labels),
            bodies=bodies,
            should_stop=lambda: _fold_and_go_on(directory),
        )
        print_each(new, print_json if as_json else print_line)


def print_each(captures: Iterator[Capture], show: Callable[[Capture], None]) -> None:
    """One after the other, as they come."""
    for capture in captures:
        show(capture)


def print_json(capture: Capture) -> None:
    """One object a line, written out at once."""
    click.echo(msgspec.json.encode(capture))


def print_line(capture: Capture) -> None:
    """The table's cells on one line."""
    click.echo(printable("  ".join(cell or "-" for cell in cells(capture))))


def draw(captures: Iterator[Capture]) -> None:
    """A table; with very many rows, lines."""
    rows = []
    for capture in captures:
        rows.append(cells(capture))
        if len(rows) >= TABLE_ROWS_MAX:
            break
    table("Captures", COLUMNS, rows, caption="* simulated; times are UTC")
    print_each(captures, print_line)


def cells(capture: Capture) -> tuple[str, ...]:
    """One row of the table."""
    return (
        capture["ts"][5:19].replace("T", " "),
        capture["route"] or "",
        (capture["backend"] or "") + ("*" if capture["simulated"] else ""),
        capture["status"],
        number(capture["http_status"]),
        f"{number(capture['prompt_tokens'])}/{number(capture['completion_tokens'])}",
        usd(capture["cost_usd"]),
        share(capture["confidence"]),
        milliseconds(capture["total_ms"]),
        capture["id"],
    )


def number(value: int | None) -> str:
    """A count; unknown is a dash."""
    return "-" if value is None else str(value)


def _fold_and_go_on(directory: Path) -> bool:
    """Where no keeper runs, somebody has to fold what comes; never stops."""
    from proxy.teaching import catch_up

    catch_up(directory)
    return False
