"""`pointsman model`."""

import os
import signal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import click
import msgspec

from .options import config_option, json_option, read_config
from .output import table

if TYPE_CHECKING:
    from learning.model_server import ServedModel

DEMO_MODEL = "gemma-3-270m"


@click.group("model", short_help="Serve and show models of one's own.")
def command() -> None:
    """Serve and show models of one's own.

    \b
    Example:
      pointsman model list
      pointsman model serve extract@1
    """


@command.command("list", short_help="Show trained models.")
@config_option
@json_option
def list_command(config: Path, as_json: bool) -> None:
    """Show trained models, oldest first: what they were trained on, and whether they are there.

    \b
    Example:
      pointsman model list
    """
    from learning.models import list_models
    from telemetry.capture_json import iso_time

    models = list_models(read_config(config).capture.directory)
    if as_json:
        for model in models:
            found = {**msgspec.to_builtins(model, enc_hook=str), "is_there": model.is_there}
            click.echo(msgspec.json.encode(found))
        return
    rows = [
        (
            model.id,
            model.base,
            model.dataset_id or "-",
            model.method,
            iso_time(model.created_us)[:19].replace("T", " "),
            model.artifact_sha256[:12] if model.is_there else "gone",
        )
        for model in models
    ]
    table("Models", ("name", "base", "data set", "method", "made", "file"), rows)


@command.command("serve", short_help="Serve a model on a loopback port.")
@click.argument("name")
@config_option
@click.option("--port", type=click.IntRange(1, 65535), help="Default: a free one.")
@click.option("--threads", type=click.IntRange(1, 256), help="Default: half the processors.")
@click.option("--template", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="A chat template, for a file of one's own.")  # fmt: skip
def serve_command(
    name: str, config: Path, port: int | None, threads: int | None, template: Path | None
) -> None:
    """Serve a trained model, a GGUF file, or gemma-3-270m, OpenAI-compatible, on 127.0.0.1.

    A trained model is checked by its hash and served with the chat template it was trained with.
    The server is watched and started again where it ends; interrupt it to stop. Needs the extra
    [local]. The line to put under `backends:` is printed.

    \b
    Example:
      pointsman model serve extract@1 --port 8000
    """
    from learning.local import require_server
    from learning.model_server import config_line, serve_model

    directory = read_config(config).capture.directory
    served = _served(directory, name, port=port, threads=threads, template=template)
    require_server()
    stopping = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())

    def say(line: str) -> None:
        click.echo(line)
        if " at http" in line:
            click.echo(f"backends:\n  {config_line(served, line.rpartition(' ')[2])}")

    log = directory / "models" / f"{served.path.stem}.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    serve_model(served, log=log, say=say, should_stop=stopping.is_set)


def _served(
    directory: Path, name: str, *, port: int | None, threads: int | None, template: Path | None
) -> "ServedModel":
    """A registered model, a file, or the demo's model."""
    from learning import local
    from learning.model_server import ServedModel
    from learning.models import check_artifact, find_model

    workers = threads or max(1, (os.cpu_count() or 1) // 2)
    if name == DEMO_MODEL:
        path = local.obtain(local.cache_directory(), lambda line: click.echo(line, err=True))
        return ServedModel(name, path, template, port, workers)
    if name.endswith(".gguf"):
        path = Path(name)
        if not path.is_file():
            raise click.UsageError(f"no file {path}")
        return ServedModel(path.stem, path, template, port, workers)
    model = find_model(directory, name)
    check_artifact(model)
    return ServedModel(model.id, model.artifact_path, model.template_path, port, workers)
