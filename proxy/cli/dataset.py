"""`pointsman dataset`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from .amount import read_share
from .options import config_option, json_option, read_config
from .output import printable, table
from .progress import progress_steps
from .selection import read_selection, selection_options

if TYPE_CHECKING:
    from learning.dataset_report import DatasetReport
    from learning.dataset_spec import DatasetSpec

ALLOWED = (
    "client_gone", "conversation_prefix", "cut_stream", "duplicate", "filtered", "label_disputed",
    "low_confidence", "near_duplicate", "negative_feedback", "refusal", "schema_invalid",
    "stale_config", "tool_invalid", "truncated",
)  # fmt: skip  # of learning.example
SHORT = 60


@click.group("dataset", short_help="Training sets made of captures and labels.")
def command() -> None:
    """Training sets made of captures and labels: versions that never change.

    \b
    Example:
      pointsman dataset build extract --route extract --labels require
      pointsman dataset show extract
      pointsman export --dataset extract@1 --format openai-chat --output train.jsonl
    """


@command.command("build", short_help="Make the next version of a data set.")
@click.argument("name")
@config_option
@selection_options
@click.option("--labels", type=click.Choice(("prefer", "require", "ignore")), default="prefer",
              show_default=True, help="Take labels for right, or only them, or none.")  # fmt: skip
@click.option("--allow", multiple=True, type=click.Choice(ALLOWED), metavar="CODE",
              help="Let in what is left out by default.")  # fmt: skip
@click.option("--min-agreement", default="67%", show_default=True, help="Of a teacher's samples.")
@click.option("--min-confidence", default="0%", show_default=True, help="Of captured answers.")
@click.option("--test", default="10%", show_default=True, help="Share of the groups.")
@click.option("--valid", default="5%", show_default=True, help="Share of the groups.")
@click.option("--holdout-days", type=click.FloatRange(0), default=0.0, help="The last days apart.")
@click.option("--salt", default="pointsman", show_default=True, help="Another one splits anew.")
@click.option("--no-redact", is_flag=True, help="Leave personal data in.")
@click.option("--fetch-images", is_flag=True, help="Put in images that have an address.")
@click.option("--prune-prefix", is_flag=True, help="Without the prompts' constant part.")
@click.option("--max-tokens", type=click.IntRange(1), help="Leave out longer examples, whole.")
@click.option("--tokenizer", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="The student's tokenizer.json; else tokens are estimated.")  # fmt: skip
@click.option("--like", metavar="NAME[@V]", help="By that version's specification.")
@json_option
def build_command(config: Path, name: str, as_json: bool, **options: Any) -> None:
    """Make the next version of a data set; the report says what was left out and why.

    Duplicates go, near-duplicates with the same answer too. A conversation, the same question and
    nearly the same one lie on one side of the split. Personal data is masked before anything is
    written. What was a test row stays one in every later version.

    \b
    Example:
      pointsman dataset build extract --route extract --where "confidence < 0.9" --test 20%
    """
    from learning.dataset import build
    from learning.dataset_spec import parse_name
    from proxy.teaching import catch_up

    directory = read_config(config).capture.directory
    if parse_name(name).version is not None:
        raise click.UsageError(f"{name!r}: versions are numbered by themselves; write the name")
    catch_up(directory)
    os.umask(0o077)  # prompts and answers: the rows are nobody else's business
    spec = _spec(directory, options)
    with _told(), progress_steps(is_silent=as_json) as progress:
        report = build(directory, name, spec, tokenizer=options["tokenizer"], progress=progress)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        show_report(report)


@command.command("list", short_help="Show all versions.")
@config_option
@json_option
def list_command(config: Path, as_json: bool) -> None:
    """Show all versions, oldest first.

    \b
    Example:
      pointsman dataset list
    """
    from learning.dataset_store import list_datasets
    from telemetry.capture_json import iso_time

    found: list[dict[str, Any]] = list_datasets(read_config(config).capture.directory)
    if as_json:
        for version in found:
            click.echo(msgspec.json.encode(version))
        return
    rows = [
        (
            v["id"],
            str(v["rows"]),
            ", ".join(f"{name} {count}" for name, count in v["splits"].items()),
            iso_time(v["created_us"])[:19].replace("T", " "),
            str(v["content_sha256"])[:12] if v["is_there"] else "gone",
        )
        for v in found
    ]
    table("Data sets", ("name", "rows", "split", "made", "content"), rows)


@command.command("show", short_help="Show what a version holds.")
@click.argument("name")
@config_option
@click.option("--rows", type=click.IntRange(0), default=3, show_default=True, help="Of the first.")
@json_option
def show_command(config: Path, name: str, rows: int, as_json: bool) -> None:
    """Show what a version holds: split, sources, tokens, what was left out, some rows.

    \b
    Example:
      pointsman dataset show extract@2
    """
    from itertools import islice

    from learning.dataset_report import DatasetReport
    from learning.dataset_store import find, read_examples, show

    directory = read_config(config).capture.directory
    version = find(directory, name)
    found = show(directory, version)
    first = list(islice(read_examples(directory, version), rows))
    if as_json:
        click.echo(msgspec.json.encode({**found, "first_rows": first}))
        return
    show_report(msgspec.convert(found, DatasetReport, strict=False))
    shown = [
        (example.split, _short(example.messages[-1].get("content")), _short(example.target))
        for example in first
    ]
    table("First rows", ("split", "asked last", "answer"), shown)


@command.command("trace", short_help="Where a row comes from.")
@click.argument("row", metavar="NAME[@V]:ROW")
@config_option
def trace_command(config: Path, row: str) -> None:
    """Trace a row (counted from 0) to its request, attempts, label, policy and models.

    \b
    Example:
      pointsman dataset trace extract@2:17
    """
    from learning.dataset_store import trace

    name, colon, number = row.rpartition(":")
    if not colon or not number.isdigit():
        raise click.UsageError(f"{row!r}: write NAME@2:17")
    found = trace(read_config(config).capture.directory, name, int(number))
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))


@command.command("where-used", short_help="Where a request went.")
@click.argument("request_id")
@config_option
def where_used_command(config: Path, request_id: str) -> None:
    """Show data sets that hold a request, models trained on them, and where those serve.

    \b
    Example:
      pointsman dataset where-used 019b3c52-0000-7000-8000-000000000000
    """
    from learning.dataset_store import where_used

    found = where_used(read_config(config).capture.directory, request_id)
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))


@command.command("diff", short_help="What changed between two versions.")
@click.argument("first")
@click.argument("second")
@config_option
@json_option
def diff_command(config: Path, first: str, second: str, as_json: bool) -> None:
    """Show what the second has besides and lacks, what changed sides, and how it was specified.

    \b
    Example:
      pointsman dataset diff extract@1 extract@2
    """
    from learning.dataset_store import diff, find

    directory = read_config(config).capture.directory
    found: dict[str, Any] = diff(directory, find(directory, first), find(directory, second))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    click.echo(
        f"{found['first']} -> {found['second']}: {found['only_second']} rows more,"
        f" {found['only_first']} rows less"
    )
    for move in found["moved"]:
        click.echo(f"{move['rows']} rows from {move['from']} to {move['to']}")
    for key, (before, after) in found["specification"].items():
        click.echo(printable(f"{key}: {before} -> {after}"))


def _spec(directory: Path, options: Mapping[str, Any]) -> "DatasetSpec":
    from learning.dataset_spec import DatasetSpec, SplitRule
    from learning.dataset_store import find, spec_of
    from learning.example import Rules

    if options["like"] is not None:
        return spec_of(directory, find(directory, options["like"]))
    return DatasetSpec(
        selection=read_selection(options),
        rules=Rules(
            allow=tuple(sorted(set(options["allow"]))),
            labels=options["labels"],
            agreement_min=read_share("--min-agreement", options["min_agreement"]),
            confidence_min=read_share("--min-confidence", options["min_confidence"]),
        ),
        split=SplitRule(
            valid=read_share("--valid", options["valid"]),
            test=read_share("--test", options["test"]),
            salt=options["salt"],
            holdout_days=options["holdout_days"],
        ),
        redact=not options["no_redact"],
        fetch_images=options["fetch_images"],
        prune_prefix=options["prune_prefix"],
        tokens_max=options["max_tokens"],
    )


@contextmanager
def _told() -> Iterator[None]:
    """A disk that is full, or closed to us, in words; nothing half-written stays."""
    try:
        yield
    except OSError as error:
        place = error.filename or "the data set cannot be written"
        raise click.ClickException(f"{place}: {error.strerror}; nothing was made") from None


def show_report(report: "DatasetReport") -> None:
    """A version in words and tables."""
    splits = ", ".join(f"{name} {count}" for name, count in report.splits.items())
    if not report.is_new:
        click.echo(f"Nothing new: {report.id} is made of the same and holds the same.")
    click.echo(f"{report.id}: {report.n_rows} rows of {report.captures} captures ({splits})")
    click.echo(f"content sha256 {report.content_sha256}")
    sources = ", ".join(f"{name} {count}" for name, count in report.label_sources.items())
    click.echo(f"answers from: {sources}")
    tokens = ", ".join(f"{name} {count}" for name, count in report.tokens.items())
    click.echo(f"tokens: {tokens}" + (" (estimated)" if report.are_tokens_estimated else ""))
    click.echo(
        f"{report.groups} groups, {report.overlap} on two sides of the split; a split by row"
        f" would leak {report.naive_leaks:.1%}"
    )
    if report.masked:
        masked = ", ".join(f"{kind} {count}" for kind, count in report.masked.items())
        click.echo(f"masked: {masked}")
    if report.tokens_pruned:
        click.echo(f"pruned: {report.tokens_pruned} tokens of constant prefixes")
    _show_excluded(report.excluded, report.named)


def _show_excluded(excluded: Mapping[str, int], named: Mapping[str, list[str]]) -> None:
    from learning.example import REASONS

    rows = [
        (code, str(count), REASONS.get(code, ""), (named.get(code) or [""])[0])
        for code, count in sorted(excluded.items(), key=lambda item: -item[1])
        if count
    ]
    if rows:
        table("Left out", ("code", "rows", "meaning", "the first"), rows)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    words = " ".join(text.split())
    return words if len(words) <= SHORT else words[: SHORT - 1] + "…"
