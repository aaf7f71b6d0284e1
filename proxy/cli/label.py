"""`pointsman label`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from .amount import Dollars, read_share, read_span_s
from .options import config_option, json_option, read_config
from .output import printable, usd
from .progress import progress_bar
from .selection import read_selection, selection_options

if TYPE_CHECKING:
    from learning.label import LabelPlan, LabelReport
    from learning.label_batch import BatchReport
    from proxy.configuration import Configuration

TOKENS = 1024
THINKING_TOKENS = 8192  # a model that thinks for 1,000 tokens would be cut at the other
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("label", short_help="Let a teacher, or people, say what is right.")
@config_option
@click.option("--teacher", help="The backend whose answers are taken as right.")
@selection_options
@click.option("--sample", type=click.IntRange(1), default=1000, show_default=True,
              help="At most so many questions.")  # fmt: skip
@click.option("--budget", type=Dollars(), help="Dollars; a hard cap, checked before each call.")
@click.option("--samples", type=click.IntRange(1, 16), default=1, show_default=True,
              help="Ask so often; the majority counts.")  # fmt: skip
@click.option("--samples-on", metavar="SHARE", default="100%", show_default=True,
              help="Ask that often only here, and where the capture was unsure.")  # fmt: skip
@click.option("--instruction", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="A system message in place of the client's.")  # fmt: skip
@click.option("--max-completion-tokens", type=click.IntRange(1),
              help=f"Default: {TOKENS}; {THINKING_TOKENS} where it thinks.")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, 1024), default=4, show_default=True)
@click.option("--timeout", default="120s", show_default=True, help="Of one call.")
@click.option("--to-batch", type=FILE, help="Write a provider's batch file; send nothing.")
@click.option("--from-batch", type=FILE, help="Read a batch's results back in.")
@click.option("--batch-discount", default="50%", show_default=True, help="What a batch costs less.")
@click.option("--abandon-batches", is_flag=True, help="Wait for no batch any more.")
@click.option("--disputed", type=FILE, help="Write what people should decide, heaviest first.")
@click.option("--verdicts", type=FILE, help="Read what people decided back in.")
@click.option("--min-agreement", default="67%", show_default=True, help="Below, it is disputed.")
@click.option("--yes", is_flag=True, help="The teacher's terms permit training on its answers.")
@json_option
def command(config: Path, as_json: bool, **options: Any) -> None:
    """Let a teacher say what is right for captured requests; let people decide where it is unsure.

    Labels commit as they come: after a kill, or at the budget, the same command goes on, and what
    was asked once is not paid for again. People's labels count before apps' (feedback with a
    demonstration) before teachers'.

    \b
    Example:
      pointsman label --teacher o3-mini --route extract --budget 5 --samples 3 --samples-on 5%
      pointsman label --teacher o3-mini --budget 5 --to-batch ask.jsonl
      pointsman label --teacher o3-mini --budget 5 --from-batch results.jsonl
      pointsman label --disputed decide.jsonl
      pointsman label --verdicts decide.jsonl
    """
    from proxy.teaching import catch_up

    configuration = read_config(config)
    directory = configuration.capture.directory
    catch_up(directory)
    try:
        if options["disputed"] is not None:
            found = _write_disputes(directory, options)
        elif options["verdicts"] is not None:
            found = _read_verdicts(directory, options["verdicts"])
        else:
            found = _ask(configuration, options, is_silent=as_json)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    click.echo(msgspec.json.encode(found, enc_hook=str) if as_json else printable(str(found)))
    raise SystemExit(1 if found.is_trouble else 0)


class Outcome(msgspec.Struct):
    """What a run did: its report, how it reads, and whether something was wrong."""

    report: Any
    text: str
    is_trouble: bool = False

    def __str__(self) -> str:
        return self.text


def _write_disputes(directory: Path, options: Mapping[str, Any]) -> Outcome:
    from learning.disputes import write_disputes

    limit = read_share("--min-agreement", options["min_agreement"])
    path = options["disputed"]
    count = write_disputes(directory, read_selection(options), path, agreement_min=limit)
    return Outcome(
        {"path": str(path), "rows": count},
        f"{path}: {count} rows to decide; fill `answer`, then pointsman label --verdicts {path}",
    )


def _read_verdicts(directory: Path, path: Path) -> Outcome:
    from learning.disputes import read_verdicts

    report = read_verdicts(directory, path)
    _name_faults(path, report.bad)
    text = f"{report.taken} decided, {report.undecided} still open, {len(report.bad)} unreadable"
    return Outcome(report, text, bool(report.bad))


def _ask(configuration: "Configuration", options: Mapping[str, Any], *, is_silent: bool) -> Outcome:
    from learning.label import label
    from learning.label_batch import abandon_batches, read_batch, write_batch

    directory = configuration.capture.directory
    plan = _plan(configuration, options)
    discount = read_share("--batch-discount", options["batch_discount"])
    if options["abandon_batches"]:
        count = abandon_batches(directory, plan)
        return Outcome({"abandoned": count}, f"{count} open questions given up")
    if options["from_batch"] is not None:
        back = read_batch(directory, plan, options["from_batch"], discount=discount)
        _name_faults(options["from_batch"], back.bad)
        return Outcome(back, batch_words(back), bool(back.bad))
    _ask_about_terms(directory, plan, is_agreed=options["yes"])
    if options["to_batch"] is not None:
        report, rows = write_batch(directory, plan, options["to_batch"], discount=discount)
        text = f"{options['to_batch']}: {rows} questions; {report_words(report)}"
        return Outcome({"rows": rows, "report": report}, text)
    with progress_bar("labelling", is_silent=is_silent) as advance:
        report = label(directory, plan, progress=advance)
    is_trouble = bool(report.failed or report.left)
    return Outcome(report, report_words(report), is_trouble)


def _plan(configuration: "Configuration", options: Mapping[str, Any]) -> "LabelPlan":
    from learning.capture_questions import draw_questions
    from learning.label import LabelPlan
    from learning.teacher import Task

    name = options["teacher"]
    if name not in configuration.backends:
        known = ", ".join(configuration.backends)
        raise click.UsageError(f"--teacher must name a backend; known: {known}")
    if options["budget"] is None:
        raise click.UsageError("--budget is needed: labels are never asked for without a cap")
    teacher = configuration.backends[name]
    instruction = options["instruction"]
    is_reading = options["from_batch"] is not None or options["abandon_batches"]
    return LabelPlan(
        questions=[] if is_reading else draw_questions(
            configuration.capture.directory, read_selection(options), sample=options["sample"]
        ),
        teacher=teacher,
        task=Task(
            teacher.model,
            options["samples"],
            read_share("--samples-on", options["samples_on"]),
            None if instruction is None else instruction.read_text("utf-8"),
            options["max_completion_tokens"]
            or (THINKING_TOKENS if teacher.is_reasoning else TOKENS),
        ),
        budget_usd=options["budget"],
        routes={route.name: route for route in configuration.policy.routes},
        concurrency=options["concurrency"],
        timeout_s=read_span_s("--timeout", options["timeout"]),
    )  # fmt: skip


def _ask_about_terms(directory: Path, plan: "LabelPlan", *, is_agreed: bool) -> None:
    """Once a store and teacher: a provider's terms may forbid training on its answers."""
    from learning.ledger import Ledger, now_us

    name = f"teacher-terms:{plan.task.model}"
    with Ledger(directory) as ledger:
        if ledger.row("select 1 from learned where name = ?", (name,)) is not None:
            return
        if not is_agreed:
            click.confirm(
                f"Do the terms of {plan.teacher.name} ({plan.task.model}) permit training other"
                " models on its answers?",
                abort=True,
                err=True,
            )
        ledger.run(
            "insert or replace into learned(name, ts_us, data) values (?,?,?)",
            (name, now_us(), b"permitted"),
        )


def report_words(report: "LabelReport") -> str:
    """A run in words."""
    parts = [f"{report.labelled} labelled", f"{report.known} known before"]
    if report.waiting:
        parts.append(f"{report.waiting} waiting for a batch")
    parts += [f"{count} {reason}" for reason, count in sorted(report.spoilt.items())]
    parts += [f"{count} failed ({reason})" for reason, count in sorted(report.failed.items())]
    if report.left:
        parts.append(f"{report.left} left undone: {report.stopped}")
    if report.overrun_usd:
        parts.append(f"{usd(report.overrun_usd)} billed beyond what could be reckoned")
    return f"{', '.join(parts)}; spent {usd(report.spent_usd)} in all"


def batch_words(report: "BatchReport") -> str:
    """A batch's results in words."""
    parts = [f"{report.labelled} labelled"]
    parts += [f"{count} {reason}" for reason, count in sorted(report.spoilt.items())]
    parts += [f"{count} failed ({reason})" for reason, count in sorted(report.failed.items())]
    if report.unknown:
        parts.append(f"{report.unknown} not asked for, or read before")
    parts.append(f"{report.waiting} still waiting")
    return f"{', '.join(parts)}; spent {usd(report.spent_usd)} in all"


def _name_faults(path: Path, faults: Any) -> None:
    for fault in faults:
        click.echo(printable(f"{path}:{fault.row}: {fault.reason}"), err=True)
