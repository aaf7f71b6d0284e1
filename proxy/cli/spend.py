"""`pointsman spend`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from .options import Ago, config_option, json_option, read_config
from .output import share, table, usd

COLUMNS = (
    "route", "backend", "requests", "cost", "per 1,000", "unknown",
    "in", "out", "reasoning", "not ok",
)  # fmt: skip


@click.command("spend", short_help="Show what was spent, by route and backend.")
@config_option
@json_option
@click.option("--since", type=Ago(), help="Younger than this, as 1h or 2d.")
@click.option("--daily", is_flag=True, help="A row for each UTC day besides.")
def command(config: Path, as_json: bool, since: float | None, daily: bool) -> None:
    """Show what was spent, by route and backend, the dearest first.

    Requests of unknown cost are counted apart, never as free. Simulated backends are priced as
    if they were real.

    \b
    Example:
      pointsman spend --since 1d
      pointsman spend --daily --since 30d
    """
    from proxy.teaching import catch_up
    from telemetry import queries

    directory = read_config(config).capture.directory
    catch_up(directory)
    rows: list[dict[str, Any]] = queries.spend(
        directory, since_us=None if since is None else int(since * 1_000_000), daily=daily
    )
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row))
        return
    total = sum(row["cost_usd"] or 0.0 for row in rows)
    caption = f"in all {usd(total)}; * simulated"
    if daily:
        daily_rows = [(row["day"], *cells(row)) for row in rows]
        table("Spend by day (UTC)", ("day", *COLUMNS), daily_rows, caption=caption)
    else:
        table("Spend", COLUMNS, map(cells, rows), caption=caption)


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One row of the table."""
    return (
        row["route"] or "-",
        (row["backend"] or "-") + ("*" if row["simulated"] else ""),
        str(row["requests"]),
        usd(row["cost_usd"]),
        usd(row["usd_per_1k"]),
        str(row["unknown_cost"]),
        str(row["prompt_tokens"]),
        str(row["completion_tokens"]),
        str(row["reasoning_tokens"]),
        share(row["error_rate"]),
    )
