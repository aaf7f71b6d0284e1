"""`pointsman fit`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from .calibrate import names_of
from .options import Ago, config_option, json_option, read_config
from .output import share, table
from .progress import progress_bar

if TYPE_CHECKING:
    from learning.fit_captures import FitResult
    from learning.labelled import Row
    from proxy.configuration import Configuration


@click.command("fit", short_help="Fit from labels who answers what well.")
@config_option
@json_option
@click.option("--route", help="Labels of this route only; the models count for all of them.")
@click.option("--since", type=Ago(), help="Labels of captures younger than this.")
def command(*, config: Path, as_json: bool, route: str | None, since: float | None) -> None:
    """Fit P(acceptable answer) per backend from labelled captures.

    Two models come of it: how well each backend will answer a request, from its words, and how
    far a given answer is right, from its words, its tokens and the route's signals. They are kept
    beside the captures and taken up by a running server; `prefer: surest` and `weighted` use the
    first at once, `require.error` both once `pointsman calibrate` has proved something with them.
    Half of the labels are fitted on, the other half is left to prove with. Needs the extra [fit].

    \b
    Example:
      pointsman fit
      pointsman fit --since 30d && pointsman calibrate
    """
    from policies.fitted_store import digest_in, fitted_bytes
    from proxy.teaching import catch_up
    from telemetry.fitted_file import fitted_path, save_fitted

    configuration = read_config(config)
    catch_up(configuration.capture.directory)
    found = _fit(configuration, _rows(configuration, route, since, is_silent=as_json))
    data = fitted_bytes(found.prompts, found.answers)
    save_fitted(configuration.capture.directory, data)
    path, digest = fitted_path(configuration.capture.directory), digest_in(data)
    if as_json:
        told = {"digest": digest, "bytes": len(data), **_counts(found)}
        click.echo(msgspec.json.encode(told))
        return
    _show(found)
    click.echo(f"written to {path}: {digest}, {len(data) / 1e6:.1f} MB")
    _tell_of_promises(configuration, digest)


def _rows(
    configuration: "Configuration", route: str | None, since: float | None, *, is_silent: bool
) -> "list[Row]":
    from learning.captured import Selection, count_captured
    from learning.labelled import labelled_rows

    directory = configuration.capture.directory
    if route is not None and route not in {one.name for one in configuration.written.routes}:
        raise click.UsageError(f"no route {route!r} in this configuration")
    since_us = None if since is None else int(since * 1_000_000)
    total = count_captured(directory, Selection(since_us=since_us, route=route, source="traffic"))
    found = []
    with progress_bar("reading captures", is_silent=is_silent) as progress:
        for row in labelled_rows(
            directory,
            route=route,
            since_us=since_us,
            models=names_of(configuration),
            only_labelled=True,
        ):
            found.append(row)
            progress(len(found), total)
    return found


def _fit(configuration: "Configuration", rows: "list[Row]") -> "FitResult":
    """Fit, or say why not and exit."""
    try:
        from learning.fit_captures import FitRefused, fit_rows
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"fitting needs the extra [fit] ({error.name} is missing): pip install 'pointsman[fit]'"
        ) from None
    found = fit_rows(rows)
    if isinstance(found, FitRefused):
        click.echo(f"nothing fitted: {found.reason}")
        if not rows:
            click.echo("no capture is labelled: run `pointsman label`, or set `shadow:`")
        sys.exit(1)
    return found


def _counts(found: "FitResult") -> dict[str, object]:
    return {
        "labels": found.labels,
        "backends": {name: one._asdict() for name, one in found.counts.items()},
        "answers": {name: one._asdict() for name, one in found.answer_counts.items()},
    }


def _show(found: "FitResult") -> None:
    click.echo(f"fitted on {found.labels} labelled requests; as many are left to prove with")
    rows = [
        (
            name,
            str(one.right + one.wrong),
            share(one.right / (one.right + one.wrong)) if one.right + one.wrong else "-",
            str(sum(found.answer_counts.get(name, (0, 0)))),
        )
        for name, one in found.counts.items()
    ]
    table("Backends", ("backend", "labels", "right", "answers"), rows)


def _tell_of_promises(configuration: "Configuration", digest: str) -> None:
    """What was proved with other models is proved no more."""
    void = [
        name
        for name, proof in configuration.lock.routes.items()
        if proof.model and proof.model != digest
    ]
    if void:
        click.echo(
            f"void until proved anew, the reference answers: {', '.join(void)};"
            " run `pointsman calibrate`"
        )
