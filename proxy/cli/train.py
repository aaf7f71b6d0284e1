"""`pointsman train`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from learning.train_process import PYTHON

from .options import config_option, json_option, read_config
from .output import printable
from .progress import progress_steps

if TYPE_CHECKING:
    from learning.dataset_spec import DatasetName
    from learning.train import TrainReport


@click.command("train", short_help="Fine-tune a model of one's own on a data set.")
@config_option
@click.option("--dataset", required=True, metavar="NAME[@V]", help="What it learns from.")
@click.option("--name", help="The model's; default: the data set's.")
@click.option("--base", default="gemma-3-270m", show_default=True,
              help="Or a folder with a model in Hugging Face's layout.")  # fmt: skip
@click.option("--template", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="Its chat template (Jinja); default: question and answer in words.")  # fmt: skip
@click.option("--stop", default="<eos>", show_default=True, help="The token that ends a turn.")
@click.option("--epochs", type=click.FloatRange(0.001), default=1.0, show_default=True)
@click.option("--steps", type=click.IntRange(1), help="In place of --epochs.")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
@click.option(
    "--rank", type=click.IntRange(1), default=16, show_default=True, help="Of the adapter."
)
@click.option("--learning-rate", type=click.FloatRange(0, 1), default=1e-3, show_default=True)
@click.option("--max-tokens", type=click.IntRange(8), default=1024, show_default=True,
              help="Longer rows are dropped, whole.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="Default: half the processors.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--python", type=click.Path(path_type=Path, dir_okay=False),
              envvar="POINTSMAN_TRAIN_PYTHON",
              help="Of the environment that trains; default: make train-env's.")  # fmt: skip
@click.option("--elsewhere", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Train nothing; write what other trainers read.")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Begin anew where a run was broken off.")
@json_option
def command(config: Path, dataset: str, name: str | None, as_json: bool, **options: Any) -> None:
    """Fine-tune a model of one's own (LoRA) on a data set's train rows, and convert it to GGUF.

    Before the first step it checks that the stop token is trained, that every row has an answer
    to learn from, and how many rows are too long. A run that is broken off goes on from its last
    checkpoint with the same command. The model is registered with its data set and settings.

    \b
    Example:
      pointsman train --dataset extract@1 --epochs 2
      pointsman train --dataset extract@1 --elsewhere gpu --base meta-llama/Llama-3.1-8B
    """
    from learning.dataset_store import find
    from learning.train import next_commands, train

    directory = read_config(config).capture.directory
    version = find(directory, dataset)
    folder = options.pop("elsewhere")
    if folder is not None:
        _write_elsewhere(directory, version, folder, options["base"], as_json=as_json)
        return
    python = options.pop("python") or PYTHON
    is_fresh = options.pop("fresh")
    with progress_steps(is_silent=as_json) as step:

        def say(event: dict[str, Any]) -> None:
            if event["event"] == "step":
                step(f"loss {event['loss']:.3f}", event["step"], event["of"])
            elif event["event"] == "doing":
                step(str(event["what"]), 0, 1)

        report = train(
            directory,
            version,
            name or version.name,
            _options(options),
            python=python,
            is_fresh=is_fresh,
            say=say,
        )
    if as_json:
        click.echo(msgspec.json.encode(report))
        return
    show(report)
    click.echo("Next:")
    for line in next_commands(report.model):
        click.echo(f"  {line}")
    click.echo("For a machine with a GPU instead:")
    click.echo(f"  pointsman train --dataset {version.id} --elsewhere DIR --base MODEL")


def _write_elsewhere(
    directory: Path, version: "DatasetName", folder: Path, base: str, *, as_json: bool
) -> None:
    """Files and commands for trainers on other machines."""
    from learning.elsewhere import export_elsewhere

    try:
        lines = export_elsewhere(directory, version, folder, base=base)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    if as_json:
        click.echo(msgspec.json.encode({"folder": str(folder), "commands": lines}))
        return
    click.echo(printable(f"files: {folder}"))
    for line in lines:
        click.echo(printable(f"  {line}"))


def _options(options: dict[str, Any]) -> Any:
    from learning.train import TrainOptions

    threads = options.pop("threads") or max(1, (os.cpu_count() or 1) // 2)
    return TrainOptions(tokens_max=options.pop("max_tokens"), threads=threads, **options)


def show(report: "TrainReport") -> None:
    """What was trained, in words."""
    resumed = "" if report.resumed_at is None else f", resumed at {report.resumed_at}"
    click.echo(printable(f"{report.model}: {report.steps} steps on {report.rows} rows{resumed}"))
    for count, what in ((report.over_length, "longer than --max-tokens"),
                        (report.not_text, "with tool calls or images")):  # fmt: skip
        if count:
            click.echo(f"left out: {count} rows {what}")
    valid = "-" if report.valid_loss is None else f"{report.valid_loss:.4f}"
    click.echo(f"loss {report.first_loss:.4f} -> {report.last_loss:.4f}, on valid rows {valid}")
    if report.stops is not None and report.stops < 1:
        click.echo(f"only {report.stops:.0%} of a few answers ended by themselves: train longer")
    click.echo(printable(f"files: {report.folder}"))
