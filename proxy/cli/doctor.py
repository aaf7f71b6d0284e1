"""`pointsman doctor`."""

from pathlib import Path

import click
import msgspec

from .options import config_option, json_option
from .output import printable

_MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


@click.command("doctor", short_help="Look for what is wrong or would go wrong.")
@config_option
@json_option
def command(config: Path, as_json: bool) -> None:
    """Look for what would go wrong: packages, ports, permissions, limits, disk, lost records.

    Exit code 1 if something is wrong. Works while a server runs and while none does.

    \b
    Example:
      pointsman doctor
    """
    from .examination import examine

    found = examine(config)
    for finding in found:
        if as_json:
            click.echo(msgspec.json.encode(finding))
        else:
            line = f"{_MARKS[finding.verdict]} {finding.subject}: {finding.detail}"
            click.echo(printable(line))
    raise SystemExit(1 if any(finding.verdict == "wrong" for finding in found) else 0)
