"""`pointsman verify`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from .options import config_option, json_option, read_config
from .output import printable

if TYPE_CHECKING:
    from telemetry.verify import VerifyReport


@click.command("verify", short_help="Prove that what was kept is whole.")
@config_option
@json_option
@click.option("--deep", is_flag=True, help="Read every body and compare its hash.")
def command(config: Path, as_json: bool, deep: bool) -> None:
    """Prove that what was kept is whole; exit code 1 if it is not.

    \b
    Example:
      pointsman verify --deep
    """
    from proxy.teaching import catch_up
    from telemetry.errors import StoreError
    from telemetry.verify import verify

    directory = read_config(config).capture.directory
    problems = []
    try:
        catch_up(directory)
    except StoreError as error:
        problems.append(f"the journal could not be folded: {error}")
    report = verify(directory, deep=deep, progress=_progress(is_silent=as_json))
    report.problems[:0] = problems
    if as_json:
        click.echo(msgspec.json.encode({**msgspec.to_builtins(report), "whole": report.is_whole}))
    else:
        _print(report)
    raise SystemExit(0 if report.is_whole else 1)


def _progress(*, is_silent: bool) -> Callable[[str], None]:
    """Name each file on a terminal, so that a deep look at much does not seem stuck."""
    if is_silent or not sys.stderr.isatty():
        return lambda name: None
    return lambda name: click.echo(name, err=True)


def _print(report: "VerifyReport") -> None:
    for note in report.notes:
        click.echo(printable(f"note: {note}"))
    for problem in report.problems:
        click.echo(printable(f"PROBLEM: {problem}"))
    verdicts = f", {report.verdicts} verdicts" if report.verdicts else ""
    click.echo(
        f"{report.records} records, {report.bodies} bodies{verdicts}; "
        f"{report.segments} journal segments with {report.unfolded_bytes} bytes to fold: "
        + ("whole" if report.is_whole else f"{len(report.problems)} problems")
    )
