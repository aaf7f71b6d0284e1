"""The command `pointsman`: a table of its words, and what becomes of an error.

Exit codes: 0 ok, 1 something is wrong (with `check`: in the file), 2 wrong usage or, for every
command but `check`, a configuration that cannot be used.
"""

import importlib
from types import MappingProxyType
from typing import Any

import click

from pointsman import __version__
from pointsman.errors import ConfigError, PointsmanError

COMMANDS = (
    "init",
    "serve",
    "check",
    "explain",
    "captures",
    "export",
    "verify",
    "doctor",
    "spend",
    "key",
    "import",
    "benchmark",
    "backtest",
    "fit",
    "calibrate",
    "label",
    "dataset",
    "train",
    "model",
    "canary",
    "forget",
)
MODULES = MappingProxyType({"import": "importing"})
"""Where a command's word cannot be, or is not, its module's name."""


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for: `serve` must start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All words, in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command in its module, there called `command`."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"proxy.cli.{MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn our own errors into a message and an exit code."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(str(problem), err=True)
            ctx.exit(2)
        except PointsmanError as error:
            click.echo(f"pointsman: {error}", err=True)
            ctx.exit(1)
        except _store_refuses() as error:
            click.echo(f"pointsman: the store: {error} (is the disk full, or read-only?)", err=True)
            ctx.exit(1)


def _store_refuses() -> type[Exception]:
    """What SQLite raises on a full disk; loaded when something was raised, for `serve` never."""
    operational_error: type[Exception] = importlib.import_module("sqlite3").OperationalError
    return operational_error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pointsman")
def cli() -> None:
    """Route model calls by cost, latency and confidence, and keep every one of them.

    \b
    Example:
      pointsman init
      pointsman serve
    """


def main() -> None:
    """Run a command; never returns."""
    cli(prog_name="pointsman")
