"""`pointsman backtest`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from .options import Ago, config_option, json_option, read_config
from .output import table

if TYPE_CHECKING:
    from learning.backtest import Backtest
    from learning.off_policy import Estimate, Finding

COLUMNS = ("", "as logged", "new (doubly robust)", "new (SNIPS)", "rows", "effective", "differing")
NAMES = {"cost_usd": "cost, $", "total_s": "time, s", "error": "wrong"}


@click.command("backtest", short_help="Judge another policy by what was captured.")
@click.argument("new", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@config_option
@json_option
@click.option("--since", type=Ago(), help="Younger than this, as 1h or 2d.")
@click.option("--route", help="Of one route, as it was then.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="A page with plots.")
def command(
    *,
    new: Path,
    config: Path,
    as_json: bool,
    since: float | None,
    route: str | None,
    html: Path | None,
) -> None:
    """Decide captured requests again by the policy in NEW and show what it would have come to.

    Cost, time and errors stand beside what was logged, with 95 % intervals. The log can only
    judge choices it made itself now and then: routes need `explore:`. Where it cannot say, the
    command says why and exits with 1.

    \b
    Example:
      pointsman backtest new.yaml --since 30d --html backtest.html
    """
    from learning.backtest import backtest
    from learning.backtest_page import page
    from proxy.configuration import load_configuration
    from proxy.teaching import catch_up

    from .explain import read_learned, read_models

    directory = read_config(config).capture.directory
    configuration = load_configuration(new)
    catch_up(directory)
    since_us = None if since is None else int(since * 1_000_000)
    found = backtest(
        directory,
        configuration.policy,
        read_learned(None, directory),
        since_us=since_us,
        route=route,
        certified=frozenset(configuration.promises.certified),
        fitted=read_models(None, directory),
    )
    if html is not None:
        html.write_text(page(found, name=new.name), encoding="utf-8")
    if as_json:
        click.echo(msgspec.json.encode(as_plain(found)))
    else:
        show(found)
    if all(finding.refusal for finding in found.findings.values()):
        sys.exit(1)


def as_plain(found: "Backtest") -> dict[str, Any]:
    """For programs."""
    return {
        "rows": found.rows,
        "findings": {name: _finding(finding) for name, finding in found.findings.items()},
        "moves": [move._asdict() for move in found.moves],
        "skipped": found.skipped,
    }


def _finding(finding: "Finding") -> dict[str, Any]:
    plain: dict[str, Any] = finding._asdict()
    for name in ("snips", "doubly_robust", "logged"):
        estimate = plain[name]
        plain[name] = None if estimate is None else estimate._asdict()
    return plain


def show(found: "Backtest") -> None:
    """The table, the refusals, what would move."""
    rows = [_cells(NAMES[name], finding) for name, finding in found.findings.items()]
    table(f"{found.rows:,} captures decided again", COLUMNS, rows)
    for name, finding in found.findings.items():
        if finding.refusal is not None:
            click.echo(f"{NAMES[name]}: no estimate: {finding.refusal}")
    for move in found.moves:
        click.echo(f"{move.requests:,} from {move.old} to {move.new}: {move.reason}")
    if not found.moves:
        click.echo("Nothing would go elsewhere.")
    _show_skipped(found.skipped)


def _show_skipped(skipped: Mapping[str, int]) -> None:
    for reason, count in skipped.items():
        click.echo(f"left out, {reason}: {count:,}")


def _cells(name: str, finding: "Finding") -> tuple[str, ...]:
    new = (finding.doubly_robust, finding.snips) if finding.refusal is None else (None, None)
    return (
        name,
        _words(finding.logged),
        *map(_words, new),
        f"{finding.rows:,}",
        f"{finding.effective:,.0f}",
        f"{finding.differing:,}",
    )


def _words(estimate: "Estimate | None") -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"
