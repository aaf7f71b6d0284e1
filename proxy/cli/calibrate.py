"""`pointsman calibrate`."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from proxy.keys import write_private
from proxy.locked import lock_path

from .options import Ago, config_option, json_option, read_config
from .output import share
from .progress import progress_bar

if TYPE_CHECKING:
    from learning.calibrate import Judge, Judged, Refused
    from policies.lock import Lock, RouteLock
    from proxy.configuration import Configuration


@click.command("calibrate", short_help="Prove what `require.error` promises, from labels.")
@config_option
@json_option
@click.option("--route", help="One route only; the others' promises stay as they are.")
@click.option("--since", type=Ago(), help="Labels of captures younger than this.")
def command(*, config: Path, as_json: bool, route: str | None, since: float | None) -> None:
    """Certify each route's `require.error` from labelled captures.

    Writes the lock beside the configuration (config.yaml -> config.lock.json): from which
    confidence on answers are accepted, or which requests go to the reference at once, and the
    proof. A running server takes it up by itself. Where the labels prove nothing the command
    says how many more are needed, takes the promise out of the lock and exits with 1. A promise
    holds for traffic like the labelled, over the draw of the labels, not for a single answer.

    \b
    Example:
      pointsman calibrate
      pointsman calibrate --route extract --since 30d
    """
    from learning.calibrate import Refused, calibrate_route
    from policies.lock import write_lock
    from proxy.teaching import catch_up

    configuration = read_config(config)
    written = configuration.written
    wanted = [
        one for one in written.routes if one.require.error is not None and route in (None, one.name)
    ]
    if not wanted:
        raise click.UsageError("no such route has `require.error`: there is nothing to prove")
    catch_up(configuration.capture.directory)
    before = _kept(lock_path(config))
    promises = {} if route is None else dict(before.routes)
    refused = False
    for judge in _judges(configuration, [one.name for one in wanted]):
        rows = _judged(configuration, judge, since=since, is_silent=as_json)
        found = calibrate_route(
            judge.route,
            written.backends,
            rows,
            now_us=time.time_ns() // 1000,
            method=judge.method,
            model=judge.model,
        )
        promises.pop(judge.route.name, None)
        if isinstance(found, Refused):
            refused = True
        else:
            promises[judge.route.name] = found
        _print(judge, found, rows, as_json=as_json)
    lock = _following(before, promises, configuration)
    write_private(lock_path(config), write_lock(lock))
    if refused:
        sys.exit(1)


def _judges(configuration: "Configuration", names: list[str]) -> "Iterator[Judge]":
    from learning.calibrate import Judge
    from proxy.fitting import load_models_now

    from .explain import read_learned

    directory = configuration.capture.directory
    learned, fitted = read_learned(None, directory), load_models_now(directory)
    for one in configuration.written.routes:
        if one.name in names:
            yield Judge(configuration.written, one, learned=learned, fitted=fitted)


def _judged(
    configuration: "Configuration", judge: "Judge", *, since: float | None, is_silent: bool
) -> "list[Judged]":
    """What is kept of a route, held against what it would do today."""
    from learning.captured import Selection, count_captured
    from learning.labelled import labelled_rows

    directory = configuration.capture.directory
    since_us = None if since is None else int(since * 1_000_000)
    selection = Selection(since_us=since_us, route=judge.route.name, source="traffic")
    total = count_captured(directory, selection)
    found = []
    with progress_bar(f"reading {judge.route.name}", is_silent=is_silent) as progress:
        rows = labelled_rows(
            directory, route=judge.route.name, since_us=since_us, models=names_of(configuration)
        )
        for number, row in enumerate(rows):
            progress(number, total)
            judged = judge.judge(row)
            if judged is not None:
                found.append(judged)
    return found


def names_of(configuration: "Configuration") -> dict[str, list[str]]:
    """The names each backend's model answers by."""
    return {name: [name, backend.model or name] for name, backend in configuration.backends.items()}


def _following(
    before: "Lock", promises: "dict[str, RouteLock]", configuration: "Configuration"
) -> "Lock":
    """The lock with what was in force before kept beside it: a monitor may need to go back."""
    from policies.lock import Lock, void_reason

    written = configuration.written
    routes = {one.name: one for one in written.routes}
    former = {name: one for name, one in before.former.items() if name in promises}
    for name, proof in before.routes.items():
        if name not in promises or promises[name] == proof or name not in routes:
            continue
        reason = void_reason(proof, routes[name], written.backends, model=configuration.model)
        if reason is None:
            former[name] = proof
    return Lock(promises, former)


def _kept(path: Path) -> "Lock":
    """What is locked now; nothing where that cannot be read, which is written anew."""
    from policies.lock import BadLock, Lock, read_lock

    try:
        return read_lock(path.read_bytes()) if path.is_file() else Lock()
    except BadLock as error:
        click.echo(f"warning: {path}: {error}; written anew", err=True)
        return Lock()


def _print(
    judge: "Judge", found: "RouteLock | Refused", rows: "list[Judged]", *, as_json: bool
) -> None:
    from learning.calibrate import Refused

    route = judge.route.name
    if as_json:
        plain = found._asdict() if isinstance(found, Refused) else msgspec.structs.asdict(found)
        told = {
            "route": route,
            "refused": isinstance(found, Refused),
            "method": judge.method,
            "left_out": dict(judge.left_out),
        }
        click.echo(msgspec.json.encode(told | plain))
        return
    _print_left_out(route, judge.left_out)
    if isinstance(found, Refused):
        click.echo(f"{route}: no promise: {found.reason}")
        return
    click.echo(
        f"{route}: certified at {share(found.confidence)}: error at most {share(found.max)}"
        f" (bound {share(found.bound)}, {found.errors} wrong of {found.labels} labels);"
        f" {_accepted(found)}"
    )
    if found.accept is None and found.gain is None:
        _print_silence(judge, rows)


def _accepted(found: "RouteLock") -> str:
    from learning.calibrate import accepted_words

    if found.gain is not None:
        return (
            "all go to the cheap one" if found.gain > 1 else
            f"requests go to {found.reference} where it is likelier right by {share(found.gain)}"
        )  # fmt: skip
    return accepted_words(found.accept)


def _print_left_out(route: str, left_out: "Counter[str]") -> None:
    for reason, count in left_out.items():
        click.echo(f"{route}: {count} captures left out: {reason}", err=True)


def _print_silence(judge: "Judge", rows: "list[Judged]") -> None:
    from learning.calibrate import silent_in_doubt

    silent, labels = silent_in_doubt(rows)
    if silent and judge.doubted != judge.reference:
        click.echo(
            f"{judge.route.name}: {silent} of {labels} labels say nothing of {judge.doubted}, which"
            f" unsure answers go to first: name {judge.reference} first in escalate.to, or give"
            f" {judge.doubted} a shadow"
        )
