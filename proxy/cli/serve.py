"""`pointsman serve`."""

import errno
from pathlib import Path

import click

from telemetry.logs import log

from .options import config_option


class Workers(click.ParamType[int]):
    """A number of processes, or `auto`."""

    name = "N|auto"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """`auto` is the number of usable cores."""
        from proxy.running import WORKERS_MAX, auto_workers

        if value == "auto":
            return auto_workers()
        text = str(value)
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= WORKERS_MAX):
            message = f"{value!r} is neither 'auto' nor a number from 1 to {WORKERS_MAX}"
            raise click.BadParameter(message, ctx, param)
        return int(text)


@click.command("serve", short_help="Serve until stopped.")
@config_option
@click.option(
    "--workers",
    type=Workers(),
    default="auto",
    show_default=True,
    help="Data plane processes; auto: one per usable core.",
)
def command(config: Path, workers: int) -> None:
    """Serve until stopped (SIGTERM drains, a second one ends at once, SIGHUP reloads, SIGUSR2
    starts the program anew without a gap).

    Prints one line to standard output once everything listens, JSON lines to standard error.

    \b
    Example:
      pointsman serve --config config.yaml --workers 2
    """
    from proxy.configuration import load_configuration

    configuration = load_configuration(config)
    from proxy import succession
    from proxy.serving import serve  # the data plane: not before the file is known to be good

    if succession.is_rehearsal():
        succession.rehearse(configuration)
        return
    for warning in configuration.warnings:
        log("config_warning", level="warning", problem=str(warning))
    try:
        code = serve(configuration, workers=workers)
    except OSError as error:
        where = error.filename or configuration.capture.directory
        what = f"{where}: {error.strerror or error}"
        hint = "free some space there, or set another capture.directory"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise click.ClickException(f"{what}; {hint}" if full else what) from None
    raise SystemExit(code)
