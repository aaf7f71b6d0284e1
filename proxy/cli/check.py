"""`pointsman check`."""

import datetime as dt
from pathlib import Path

import click
import msgspec

from pointsman.errors import ConfigError

from .options import config_option


@click.command("check", short_help="Check a configuration and run its probes.")
@config_option
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json-schema", is_flag=True, help="Print the JSON Schema of the file instead.")
def command(config: Path, file: Path | None, json_schema: bool) -> None:
    """Check a configuration: F:LINE:COLUMN and a message a line; exit code 1 if it has errors.

    Warnings are marked as such and do not fail. The probes of all routes are run.

    \b
    Example:
      pointsman check config.yaml
    """
    if json_schema:
        from policies.json_schema import config_json_schema

        click.echo(msgspec.json.format(msgspec.json.encode(config_json_schema())))
        return
    raise SystemExit(1 if check_file(file or config) else 0)


def check_file(path: Path) -> int:
    """Print what is wrong and what is odd; returns the number of errors."""
    from policies.probes import run_probes
    from proxy.configuration import load_configuration
    from proxy.reloading import check_keys
    from proxy.shutdowns import read, soon

    try:
        configuration = load_configuration(path)
        check_keys(configuration)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem))
        return len(error.problems)
    for warning in configuration.warnings:
        click.echo(f"{warning.file}:{warning.line}:{warning.column}: warning: {warning.message}")
    today = dt.datetime.now(dt.UTC).date()
    for shutdown in soon(read(configuration), today):
        click.echo(f"{path}:1:1: warning: {shutdown.message(today)}")
    results = run_probes(configuration.policy)
    failed = [result for result in results if not result.is_ok]
    for result in failed:
        click.echo(f"{result.file}:{result.line}:{result.column}: probe failed: {result.message}")
    if not failed:
        policy = configuration.policy
        click.echo(
            f"{path}: ok: {len(policy.routes)} routes, {len(policy.backends)} backends, "
            f"{len(results)} probes, policy {policy.digest}"
        )
    return len(failed)
