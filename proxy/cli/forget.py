"""`pointsman forget`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from .options import config_option, json_option, read_config
from .output import printable

if TYPE_CHECKING:
    from learning.forget import ForgetReport


@click.command("forget", short_help="Remove what was kept of a person, a key or a request.")
@config_option
@click.option("--user", help="All requests with this `user` in their body.")
@click.option("--key", "caller", help="All requests of this caller.")
@click.option("--id", "identifier", help="One request.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(
    config: Path,
    user: str | None,
    caller: str | None,
    identifier: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove what was kept of a person, a key or a request: it cannot be had back.

    Captures, labels and feedback go; data sets that held them become new versions without them.
    Models trained on them are named: what a model has learned it keeps. Files already exported
    are not touched.

    \b
    Example:
      pointsman forget --user customer-17
    """
    from learning.forget import forget
    from proxy.teaching import catch_up

    kind, subject = _subject(user, caller, identifier)
    directory = read_config(config).capture.directory
    if not yes:
        click.confirm(f"Forget all that was kept of {kind} {subject!r}?", abort=True, err=True)
    catch_up(directory)
    os.umask(0o077)  # data sets are written anew
    report = forget(directory, kind, subject)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        show(report)
    raise SystemExit(1 if report.unemptied else 0)


def _subject(
    user: str | None, caller: str | None, identifier: str | None
) -> tuple[Literal["id", "user", "caller"], str]:
    if user is not None and caller is None and identifier is None:
        return "user", user
    if caller is not None and user is None and identifier is None:
        return "caller", caller
    if identifier is not None and user is None and caller is None:
        return "id", identifier
    raise click.UsageError("name one of --user, --key, --id")


def show(report: "ForgetReport") -> None:
    """What is gone, in words."""
    click.echo(f"{report.requests} requests and {report.labels} labels and verdicts are gone.")
    for change in report.datasets:
        click.echo(printable(f"data set {change}"))
    for model in report.models:
        click.echo(printable(f"model {model} was trained on it: train anew, or keep it knowingly"))
    for name in report.unemptied:
        click.echo(f"{name} is being read: its old pages go when this is run again", err=True)
