"""What several commands share: the option `--config`, reading it, times written as `1h`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pointsman.units import duration_s
from proxy.configuration import Configuration, load_configuration

F = TypeVar("F", bound=Callable[..., Any])


def config_option(function: F) -> F:
    """`--config F`, as `config: Path`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("config.yaml"),
        show_default=True,
        help="The configuration file.",
    )(function)


def json_option(function: F) -> F:
    """`--json`, as `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="For programs: JSON.")(function)


def read_config(path: Path) -> Configuration:
    """Load it; its warnings go to standard error, its errors up (exit code 2)."""
    configuration = load_configuration(path)
    for warning in configuration.warnings:
        click.echo(f"warning: {warning}", err=True)
    return configuration


class Label(click.ParamType[tuple[str, str]]):
    """`name=value`; names are in lower case, as they are kept."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Read one label."""
        if isinstance(value, tuple):
            return value
        name, sign, wanted = str(value).partition("=")
        if not name or not sign:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", ctx, param)
        return name.lower(), wanted


class Ago(click.ParamType[float]):
    """`1h` -> the moment an hour ago, in seconds since the epoch."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a duration."""
        if isinstance(value, float):
            return value
        try:
            return time.time() - duration_s(str(value))
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None
