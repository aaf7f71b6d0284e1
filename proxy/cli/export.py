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
    from learning.export import ExportReport

FORMAT_NAMES = ("openai-chat", "jsonl-raw")  # of learning.export, which is not loaded for --help

REASONS = {
    "failed": "the answer was an error",
    "cut_stream": "the backend broke off",
    "client_gone": "the client left before the end",
    "not_captured": "bodies were not kept (capture: metadata or off)",
    "not_chat": "not a chat completion",
    "choice_unused": "further choices of one answer (choices, not rows)",
    "truncated": "the answer ended at its token limit",
    "filtered": "a content filter ended the answer",
    "refusal": "the model refused",
    "tool_invalid": "a tool call that does not fit",
    "roles_invalid": "messages in an order no trainer takes",
    "unreadable": "the bodies could not be read",
}


@click.command("export", short_help="Write what was kept as a dataset.")
@config_option
@click.option(
    "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file."
)
@click.option("--format", "format_name", required=True, type=click.Choice(FORMAT_NAMES))
@click.option("--since", type=Ago(), help="Younger than this, as 1h or 2d.")
@click.option("--route", help="Of one route.")
@json_option
def command(
    *,
    config: Path,
    output: Path,
    format_name: str,
    since: float | None,
    route: str | None,
    as_json: bool,
) -> None:
    """Write what was kept as a dataset: only answers that completed; the rest is counted.

    The file appears when it is whole, readable by you alone. openai-chat is OpenAI's format for
    fine-tuning, jsonl-raw everything that was kept.

    \b
    Example:
      pointsman export --format openai-chat --output dataset.jsonl
    """
    from learning.export import export
    from proxy.teaching import catch_up

    directory = read_config(config).capture.directory
    catch_up(directory)
    os.umask(0o077)  # prompts and answers: the file is nobody else's business
    try:
        with progress_bar("exporting", is_silent=as_json) as advance:
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
    if report.excluded:
        rows = [
            (code, str(count), REASONS.get(code, ""))
            for code, count in sorted(report.excluded.items(), key=lambda item: -item[1])
        ]
        table("Left out", ("reason", "rows", "meaning"), rows)
