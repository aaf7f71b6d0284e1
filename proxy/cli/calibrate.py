"""`pointsman calibrate`."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from .options import Ago, config_option, json_option, read_config
from .output import share

if TYPE_CHECKING:
    from learning.calibrate import Refused
    from policies.lock import Lock, RouteLock

LOCK_SUFFIX = ".lock.json"


@click.command("calibrate", short_help="Prove what `require.error` promises, from labels.")
@config_option
@json_option
@click.option("--route", help="One route only; the others' promises stay as they are.")
@click.option("--since", type=Ago(), help="Labels of captures younger than this.")
def command(*, config: Path, as_json: bool, route: str | None, since: float | None) -> None:
    """Certify each route's `require.error` from labelled captures.

    Writes the lock beside the configuration (config.yaml -> config.lock.json): from which
    confidence on answers are accepted, and the proof. Where the labels prove nothing the command
    says how many more are needed, takes the promise out of the lock and exits with 1. A promise
    holds for traffic like the labelled, over the draw of the labels, not for a single answer.

    \b
    Example:
      pointsman calibrate
      pointsman calibrate --route extract --since 30d
    """
    from learning.calibrate import Refused, calibrate_route, read_judged
    from policies.lock import Lock, write_lock
    from proxy.teaching import catch_up

    configuration = read_config(config)
    directory, policy = configuration.capture.directory, configuration.policy
    path = lock_path(config)
    promises = dict(_kept(path).routes) if route is not None else {}
    wanted = [
        one for one in policy.routes if one.require.error is not None and route in (None, one.name)
    ]
    if not wanted:
        raise click.UsageError("no such route has `require.error`: there is nothing to prove")
    catch_up(directory)
    since_us = None if since is None else int(since * 1_000_000)
    refused = False
    for one in wanted:
        assert one.require.error is not None  # that is what is wanted
        reference = configuration.backends[one.require.error.reference]
        models = [reference.name, reference.model or reference.name]
        rows = list(read_judged(directory, one, models, since_us=since_us))
        found = calibrate_route(one, policy.backends, rows, now_us=time.time_ns() // 1000)
        promises.pop(one.name, None)
        if isinstance(found, Refused):
            refused = True
        else:
            promises[one.name] = found
        _print(one.name, found, as_json=as_json)
    path.write_bytes(write_lock(Lock(promises)))
    if refused:
        sys.exit(1)


def lock_path(config: Path) -> Path:
    """Where the lock of a configuration stands."""
    return config.with_name(config.stem + LOCK_SUFFIX)


def _kept(path: Path) -> "Lock":
    from policies.lock import Lock, read_lock

    return read_lock(path.read_bytes()) if path.is_file() else Lock()


def _print(route: str, found: "RouteLock | Refused", *, as_json: bool) -> None:
    from learning.calibrate import Refused

    if as_json:
        plain = found._asdict() if isinstance(found, Refused) else msgspec.structs.asdict(found)
        click.echo(msgspec.json.encode({"route": route, "refused": isinstance(found, Refused)}
                                       | plain))  # fmt: skip
    elif isinstance(found, Refused):
        click.echo(f"{route}: no promise: {found.reason}")
    else:
        accepted = (
            "the reference answers everything"
            if found.accept is None
            else f"answers are accepted from confidence {found.accept:.3g} on"
        )
        click.echo(
            f"{route}: certified at {share(found.confidence)}: error at most {share(found.max)}"
            f" (bound {share(found.bound)}, {found.errors} wrong of {found.labels} labels);"
            f" {accepted}"
        )
