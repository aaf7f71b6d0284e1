"""`pointsman canary`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from .options import config_option, json_option, read_config
from .output import printable, table

route_argument = click.argument("route", required=False)
reason_option = click.option("--reason", default="", help="Kept with the step.")


@click.group("canary", short_help="Let a new backend take over step by step.")
def command() -> None:
    """Let a new backend take over step by step, as the route's `canary:` says.

    Where a server runs it is asked; where none does, the state beside the captures is read or
    changed for the next start. ROUTE may be left out where one route has a canary.

    \b
    Example:
      pointsman canary status
      pointsman canary rollback extract
    """


@command.command("status", short_help="Show where canaries stand.")
@route_argument
@config_option
@json_option
def status_command(route: str | None, config: Path, as_json: bool) -> None:
    """Show where canaries stand, what they wait for, and what they did.

    \b
    Example:
      pointsman canary status
      pointsman canary status extract --json
    """
    from proxy.canary_command import is_served, read_canaries

    configuration = read_config(config)
    found = [one for one in read_canaries(configuration) if route in (None, one["route"])]
    if route is not None and not found:
        raise click.UsageError(f"route {route!r} has no canary")
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(one))
        return
    if not is_served(configuration):
        click.echo("no server runs; this is what the next one goes on from", err=True)
    if not found:
        click.echo("Canaries: none")
    for one in found:
        _show(one)


@command.command("start", short_help="Begin a canary anew.")
@route_argument
@config_option
@reason_option
def start_command(route: str | None, config: Path, reason: str) -> None:
    """Begin a canary anew from its first stage, after it was rolled back.

    A canary of the configuration begins by itself; one that is under way stays where it is.

    \b
    Example:
      pointsman canary start extract
    """
    _say(config, route, "start", reason)


@command.command("promote", short_help="Give a canary the whole place now.")
@route_argument
@config_option
@reason_option
@click.option("--next", "is_next", is_flag=True, help="Only the next stage.")
def promote_command(route: str | None, config: Path, reason: str, is_next: bool) -> None:
    """Give a canary the whole place of the backend it replaces now, whatever its tests say.

    It is kept beside the captures; the edit that makes it the file's own word is printed.

    \b
    Example:
      pointsman canary promote extract
      pointsman canary promote extract --next
    """
    _say(config, route, "next" if is_next else "promote", reason)


@command.command("rollback", short_help="Send all traffic as before.")
@route_argument
@config_option
@reason_option
def rollback_command(route: str | None, config: Path, reason: str) -> None:
    """Send all traffic as before, within a second; requests under way are finished.

    \b
    Example:
      pointsman canary rollback extract --reason "customers complain"
    """
    _say(config, route, "rollback", reason)


def _say(config: Path, route: str | None, word: str, reason: str) -> None:
    from proxy.canaries import routes_with_canary
    from proxy.canary_command import is_served, say

    configuration = read_config(config)
    known = list(routes_with_canary(configuration))
    if route is None:
        if len(known) != 1:
            what = f"which ROUTE: {', '.join(known)}?" if known else "no route has a canary"
            raise click.UsageError(what)
        route = known[0]
    is_running = is_served(configuration)
    one = say(configuration, route, word, reason)
    when = "" if is_running else " (no server runs: from the next start on)"
    click.echo(f"{route}: {one['backend']} {_standing(one)}{when}")
    _show_edit(one, click.echo)


def _standing(one: dict[str, Any]) -> str:
    words = {
        "running": f"at stage {one['stage']}",
        "held": f"holds at {one['stage']}: everything is proved; `pointsman canary promote`",
        "promoted": f"has taken the place of {one['replaces']}",
        "rolled_back": f"is rolled back: {one['replaces']} answers",
    }
    return words[str(one["status"])]


def _show(one: dict[str, Any]) -> None:
    click.echo(f"{one['route']}: {one['backend']} for {one['replaces']} {_standing(one)}")
    if one["status"] in ("running", "held"):
        click.echo(f"  {one['samples']} answers at this stage (at least {one['min_samples']})")
    for waiting in one["waits_for"]:
        click.echo(f"  waits: {waiting}")
    rows = [
        (
            _time(step["ts_us"]),
            step["what"].replace("_", " "),
            step["stage"],
            step["by"],
            printable(step["reason"]),
        )
        for step in one["steps"]
    ]
    table("Steps", ("time", "step", "stage", "by", "reason"), rows)
    _show_edit(one, click.echo)


def _show_edit(one: dict[str, Any], say: Callable[[str], None]) -> None:
    if one["suggested_edit"]:
        say(f"To make it the configuration's own word:\n\n{one['suggested_edit']}")


def _time(ts_us: int) -> str:
    from telemetry.capture_json import iso_time

    return iso_time(ts_us)[:19].replace("T", " ")
