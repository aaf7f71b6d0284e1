"""`pointsman import`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from .options import config_option, json_option, read_config
from .output import printable
from .progress import progress_bar

if TYPE_CHECKING:
    from learning.import_pairs import ImportReport


@click.command("import", short_help="Keep request/response pairs from elsewhere as captures.")
@config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--source", help="Its name in the captures' `source`; default: import:FILE.")
@json_option
def command(config: Path, file: Path, source: str | None, as_json: bool) -> None:
    """Keep request/response pairs from elsewhere as captures, marked with their source.

    FILE has one JSON object a line: {"request": {...}, "response": {...}}, a row of `export
    --format jsonl-raw`, or a fine-tuning row {"messages": [...]} whose last message is the
    answer. Further members are named as in `captures --json`. A row that cannot be read is
    reported and left out (exit code 1); a row imported twice is kept once.

    \b
    Example:
      pointsman import traffic.jsonl --source old-gateway
    """
    from learning.import_pairs import import_file
    from proxy.teaching import catch_up

    directory = read_config(config).capture.directory
    catch_up(directory)  # what was answered is learned from; what is imported teaches nothing
    try:
        with progress_bar("importing", is_silent=as_json, is_bytes=True) as advance:
            report = import_file(
                directory, file, source=source or f"import:{file.name}", progress=advance
            )
    except OSError as error:
        raise click.ClickException(f"{file} cannot be imported: {error.strerror}") from None
    catch_up(directory)
    if as_json:
        click.echo(msgspec.json.encode(report, enc_hook=str))
    else:
        show(report)
    raise SystemExit(1 if report.bad else 0)


def show(report: "ImportReport") -> None:
    """What was taken and what was not, in words."""
    for fault in report.faults:
        click.echo(printable(f"{report.path}:{fault.row}: {fault.reason}"), err=True)
    hidden = report.bad - len(report.faults)
    if hidden:
        click.echo(f"... and {hidden} more rows", err=True)
    click.echo(f"{report.rows} rows imported as {report.source}, {report.bad} left out")
