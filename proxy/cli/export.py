"""`pointsman export`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from .options import Ago, config_option, json_option, read_config
from .output import table
from .progress import progress_bar

if TYPE_CHECKING:
    from learning.export_file import ExportReport

FORMAT_NAMES = (
    "openai-chat", "openai-dpo", "openai-batch", "trl-prompt-completion", "trl-dpo", "trl-kto",
    "axolotl", "llamafactory", "together", "fireworks", "inspect", "promptfoo", "parquet",
    "jsonl-raw",
)  # fmt: skip  # of learning.export, which is not loaded for --help
SPLITS = ("train", "valid", "test", "holdout")

OTHER_REASONS = {
    "no_rejected": "no second answer to prefer it to",
    "images": "the format takes no such images",
    "text_beside_call": "the format holds a text or a call, not both",
    "fewer_than_10_rows": "its reader wants at least ten rows",
    "fewer_than_3_rows": "its reader wants at least three rows",
}


@click.command("export", short_help="Write what was kept as a dataset.")
@config_option
@click.option(
    "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file."
)
@click.option("--format", "format_name", required=True, type=click.Choice(FORMAT_NAMES))
@click.option("--since", type=Ago(), help="Younger than this, as 1h or 2d.")
@click.option("--route", help="Of one route.")
@click.option("--dataset", metavar="NAME[@V]", help="A version of a data set, not captures.")
@click.option("--split", "splits", multiple=True, type=click.Choice(SPLITS), default=("train",),
              show_default=True, help="Of the data set; parquet holds all.")  # fmt: skip
@click.option("--reasoning", type=click.Choice(("drop", "think", "field")), default="drop",
              show_default=True, help="What becomes of the data set's thoughts.")  # fmt: skip
@json_option
def command(
    *,
    config: Path,
    output: Path,
    format_name: str,
    since: float | None,
    route: str | None,
    dataset: str | None,
    splits: tuple[str, ...],
    reasoning: str,
    as_json: bool,
) -> None:
    """Write what was kept, or a data set, in the format of a trainer or an evaluator.

    Of captures only answers that completed; the rest is counted. The file appears when it is
    whole, readable by you alone. openai-chat is OpenAI's format for fine-tuning, jsonl-raw
    everything that was kept, parquet a folder in Hugging Face's layout.

    \b
    Example:
      pointsman export --format openai-chat --output dataset.jsonl
      pointsman export --dataset extract@2 --format trl-prompt-completion --output train.jsonl
    """
    from learning.dataset_store import find
    from learning.export import export, export_dataset
    from proxy.teaching import catch_up

    directory = read_config(config).capture.directory
    catch_up(directory)
    os.umask(0o077)  # prompts and answers: the file is nobody else's business
    try:
        with progress_bar("exporting", is_silent=as_json) as advance:
            if dataset is not None:
                report = export_dataset(
                    directory,
                    find(directory, dataset),
                    output,
                    format_name=format_name,
                    splits=frozenset(splits),
                    reasoning=reasoning,
                    progress=advance,
                )
            else:
                report = export(
                    directory,
                    output,
                    format_name=format_name,
                    since_us=None if since is None else int(since * 1_000_000),
                    route=route,
                    progress=advance,
                )
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from None
    if as_json:
        click.echo(msgspec.json.encode(report, enc_hook=str))
    else:
        show(report)


def show(report: "ExportReport") -> None:
    """What was written and what was left out, in words."""
    click.echo(
        f"{report.path}: {report.rows} rows, {report.bytes_written} bytes, {report.format_name}"
    )
    for name in report.files:
        click.echo(f"beside it: {name}")
    if report.excluded:
        from learning.example import REASONS

        rows = [
            (
                code,
                str(count),
                REASONS.get(code, OTHER_REASONS.get(code, "")),
                (report.named.get(code) or [""])[0],
            )
            for code, count in sorted(report.excluded.items(), key=lambda item: -item[1])
        ]
        table("Left out", ("reason", "rows", "meaning", "the first"), rows)
