"""`pointsman init`."""

from importlib.resources import files
from pathlib import Path

import click

TEMPLATE = "config_template.yaml"


@click.command("init", short_help="Write a configuration that runs as it is.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("config.yaml"),
    show_default=True,
    help="The file to write.",
)
@click.option("--force", is_flag=True, help="Overwrite a file that is already there.")
def command(config: Path, force: bool) -> None:
    """Write a commented configuration that runs as it is, with simulated backends.

    \b
    Example:
      pointsman init && pointsman serve
    """
    text = files("proxy.cli").joinpath(TEMPLATE).read_text("utf-8")
    try:
        with config.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise click.UsageError(f"{config} is already there; --force overwrites it") from None
    except OSError as error:
        raise click.UsageError(f"{config} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {config}; now: pointsman serve --config {config}")
