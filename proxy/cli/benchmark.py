"""`pointsman benchmark`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pointsman.errors import PointsmanError

from .amount import Dollars, read_span_s
from .options import Ago, config_option, json_option, read_config
from .output import printable, share, table, usd
from .progress import progress_bar

if TYPE_CHECKING:
    from learning.benchmark_advice import Advice
    from learning.benchmark_result import BackendResult, Change, PairResult, Requirement
    from learning.intervals import Interval
    from learning.question import Question
    from proxy.configuration import Configuration

COLUMNS = ("backend", "n", "error", "95 %", "p50 ms", "p95 ms", "first ms", "per 1,000",
           "reasoning", "verdict")  # fmt: skip
COMPARISON_NAMES = ("auto", "json", "text", "exact", "contains")  # of learning.answer_match
SHOWN_CHANGES = 5
CELL_CHARACTERS = 60


class NothingToAsk(PointsmanError):
    """No question was found; the message says where they come from."""


@click.command("benchmark", short_help="Compare backends: errors, latency, cost.")
@config_option
@click.option("--route", help="Ask its candidates, for its requirements, what it was asked.")
@click.option("--backend", "names", multiple=True, help="Ask this one; more than once for more.")
@click.option(
    "--set", "file", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Labelled questions: {\"messages\": [...], \"expected\": ...} a line.",
)  # fmt: skip
@click.option("--dataset", metavar="NAME[@V]", help="The questions of a data set.")
@click.option("--split", default="test", show_default=True, help="Of the data set.")
@click.option("--sample", type=click.IntRange(1), default=200, show_default=True,
              help="At most so many questions.")  # fmt: skip
@click.option("--labelled", is_flag=True, help="Only captures whose right answer is known.")
@click.option("--since", type=Ago(), help="Captures younger than this, as 1h or 2d.")
@click.option("--reference", help="Its answers stand for right ones where none is known.")
@click.option("--compare", type=click.Choice(COMPARISON_NAMES), default="auto", show_default=True)
@click.option(
    "--budget", type=Dollars(), default="5", show_default=True, help="Dollars; a hard cap."
)
@click.option("--concurrency", type=click.IntRange(1, 1024), default=4, show_default=True,
              help="Calls to one backend at once.")  # fmt: skip
@click.option("--timeout", default="60s", show_default=True, help="Of one call.")
@click.option("--pairs", nargs=2, metavar="A B", help="What moving from A to B fixes and breaks.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="A page with plots.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--fresh", is_flag=True, help="Ask again what was asked before.")
@json_option
def command(config: Path, names: tuple[str, ...], **options: Any) -> None:
    """Ask backends the same questions and compare errors, latency and cost.

    Questions are a labelled file, a data set or a sample of the captures; right answers are the
    file's, people's, or the teacher's labels, else those of --reference. Held against the
    requirements of --route. It goes on where it stopped; what was asked is not asked again.

    \b
    Example:
      pointsman benchmark --route extract --reference o3-mini --budget 2 --html report.html
      pointsman benchmark --set labelled.jsonl --backend gpt-4 --backend local --pairs gpt-4 local
    """
    configuration = read_config(config)
    chosen = choose_backends(configuration, names, options)
    if options["route"] is not None:
        _route(configuration, options["route"])
    read_span_s("--timeout", options["timeout"])
    questions = find_questions(configuration, options)
    _run(configuration, chosen, questions, options)


def choose_backends(
    configuration: "Configuration", names: Sequence[str], options: Mapping[str, Any]
) -> list[str]:
    """Those that are named, else the route's candidates, else all; the reference among them."""
    chosen = list(names)
    if not chosen and options["route"] is not None:
        chosen = list(_route(configuration, options["route"]).candidates)
    chosen = chosen or list(configuration.backends)
    for extra in (options["reference"], *(options["pairs"] or ())):
        if extra is not None and extra not in chosen:
            chosen.append(extra)
    for name in chosen:
        if name not in configuration.backends:
            known = ", ".join(configuration.backends)
            raise click.UsageError(f"{name!r} is no backend; known: {known}")
    return list(dict.fromkeys(chosen))


def find_questions(configuration: "Configuration", options: Mapping[str, Any]) -> "list[Question]":
    """From a file, a data set, or the captures. Raises NothingToAsk."""
    from learning.capture_questions import draw_questions
    from learning.captured import Selection
    from learning.question import load_questions
    from proxy.teaching import catch_up

    directory = configuration.capture.directory
    if options["file"] is not None:
        return load_questions(options["file"])[: options["sample"]]
    catch_up(directory)
    if options["dataset"] is not None:
        from learning.dataset_questions import dataset_questions

        drawn = dataset_questions(directory, options["dataset"], split=options["split"])
        if not drawn:
            raise NothingToAsk(f"{options['dataset']} has no rows in {options['split']!r}")
        return drawn[: options["sample"]]
    since = options["since"]
    selection = Selection(
        since_us=None if since is None else int(since * 1_000_000), route=options["route"]
    )
    found = draw_questions(
        directory,
        selection,
        sample=options["sample"],
        seed=options["seed"],
        needs_label=options["labelled"],
    )
    if not found:
        raise NothingToAsk(
            "no captures to ask again; name a file with --set, or serve some traffic first"
        )
    return found


def _run(
    configuration: "Configuration",
    chosen: Sequence[str],
    questions: "list[Question]",
    options: Mapping[str, Any],
) -> None:
    from learning.benchmark import Plan, keep_results, run_benchmark
    from learning.benchmark_advice import advise, read_traffic
    from learning.benchmark_result import Grading, changes, compare_pairs, grade, summarise
    from learning.captured import Selection
    from learning.question import digest_of
    from telemetry.ids import new_id

    directory = configuration.capture.directory
    backends = {name: configuration.backends[name] for name in chosen}
    plan = Plan(
        questions,
        backends,
        timeout_s=read_span_s("--timeout", options["timeout"]),
        concurrency=options["concurrency"],
        budget_usd=options["budget"],
        salt=new_id() if options["fresh"] else "",
    )
    with progress_bar("asking", is_silent=options["as_json"]) as advance:
        answers = run_benchmark(directory, plan, progress=advance)
    grading = _grading(Grading, configuration, options)
    graded = grade(questions, answers.items, grading)
    results = summarise(graded, backends)
    pairs = compare_pairs(graded)
    traffic = read_traffic(directory, Selection(route=options["route"]))
    advice = advise(results, configuration.backends, traffic, route=options["route"])
    keep_results(directory, [_kept(r, grading.seed) for r in results], answers.run_ids)
    facts = {
        "questions": f"{len(questions)}, sha256 {digest_of(questions)}",
        "compared": grading.compare,
        "reference": grading.reference or "-",
        "seed": str(grading.seed),
        "spent": usd(answers.spent_usd),
        "asked now": str(answers.asked),
    }
    moved = changes(graded, *options["pairs"]) if options["pairs"] else None
    if options["html"] is not None:
        from learning.benchmark_page import page

        _write(options["html"], page(graded, results, pairs, advice, facts))
    if options["as_json"]:
        found = {
            "results": results, "pairs": pairs, "advice": advice, "traffic": traffic,
            "facts": facts, "stopped": answers.is_stopped, "moved": moved,
        }  # fmt: skip
        click.echo(msgspec.json.encode(found))
    else:
        show(results, pairs, advice, facts)
        if moved is not None:
            show_move(options["pairs"], *moved, pairs)
    if answers.is_stopped:
        click.echo(
            f"stopped at the budget of {usd(options['budget'])}: not all was asked", err=True
        )
        raise SystemExit(1)


def _grading(grading: Any, configuration: "Configuration", options: Mapping[str, Any]) -> Any:
    route = options["route"]
    require = {} if route is None else {"require": _route(configuration, route).require}
    return grading(
        compare=options["compare"],
        reference=options["reference"],
        seed=options["seed"],
        **require,
    )


def _route(configuration: "Configuration", name: str) -> Any:
    for route in configuration.policy.routes:
        if route.name == name:
            return route
    known = ", ".join(route.name for route in configuration.policy.routes)
    raise click.UsageError(f"{name!r} is no route; known: {known}")


def _kept(result: "BackendResult", seed: int) -> dict[str, object]:
    """A row of `eval_runs`."""
    return {
        "backend": result.backend,
        "model": result.model,
        "n": result.n,
        "n_err": result.n_err,
        "err_lo": result.error.low if result.error else None,
        "err_hi": result.error.high if result.error else None,
        "p50_us": _whole(result.p50),
        "p95_us": _whole(result.p95),
        "p99_us": None if result.p99_us is None else int(result.p99_us),
        "cost_usd": result.usd_per_1k.value / 1000 if result.usd_per_1k else None,
        "reasoning_tok": None if result.reasoning_tok is None else int(result.reasoning_tok),
        "seed": seed,
    }


def _whole(interval: "Interval | None") -> int | None:
    return None if interval is None else int(interval.value)


def _write(path: Path, text: str) -> None:
    """Aside, then renamed: a page is whole or is not there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_text(text, "utf-8")
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None


# -- for people --------------------------------------------------------------------------------


def show(
    results: "Sequence[BackendResult]",
    pairs: "Sequence[PairResult]",
    advice: "Advice",
    facts: Mapping[str, str],
) -> None:
    """The table, the tests, the verdict."""
    caption = "; ".join(f"{name} {value}" for name, value in facts.items())
    table("Benchmark", COLUMNS, map(cells, results), caption=caption)
    requirements = [(r.backend, q) for r in results for q in r.requirements]
    if requirements:
        columns = ("backend", "requirement", "limit", "seen", "interval", "judged")
        table("Requirements", columns, [requirement_cells(*row) for row in requirements])
    if pairs:
        heads = ("pair", "n", "only first right", "only second right", "p (Holm)")
        table("Paired tests", heads, [pair_cells(pair) for pair in pairs])
    click.echo(printable(f"Verdict: {advice.verdict}"))
    for line in advice.lines:
        click.echo(printable(f"  {line}"))
    if advice.commands:
        click.echo("Next:")
    for line in advice.commands:
        click.echo(printable(f"  {line}"))


def cells(r: "BackendResult") -> tuple[str, ...]:
    """One row of the table."""
    return (
        r.backend + (" (reference)" if r.is_reference else ""),
        str(r.n),
        share(r.error.value if r.error else None),
        f"{r.error.low:.1%}-{r.error.high:.1%}" if r.error else "-",
        _milliseconds(r.p50.value if r.p50 else None),
        _milliseconds(r.p95.value if r.p95 else None),
        _milliseconds(r.first_token_p50_us),
        usd(r.usd_per_1k.value if r.usd_per_1k else None),
        usd(r.reasoning_usd_per_1k),
        _verdict(r),
    )


def requirement_cells(backend: str, q: "Requirement") -> tuple[str, ...]:
    """One requirement of one backend."""
    more = "" if q.more_samples is None else f", {q.more_samples} more samples needed"
    if q.value is None or q.low is None or q.high is None:
        return backend, q.name, q.limit, "-", "-", q.judgement
    write = usd if q.name == "cost" else share
    seen, low, high = write(q.value), write(q.low), write(q.high)
    return backend, q.name, q.limit, seen, f"{low}-{high}", q.judgement + more


def pair_cells(p: "PairResult") -> tuple[str, ...]:
    """One pair."""
    right = (str(p.only_first_right), str(p.only_second_right))
    return f"{p.first} / {p.second}", str(p.n), *right, f"{p.p_adjusted:.3g}"


def show_move(
    names: tuple[str, str],
    fixed: "Sequence[Change]",
    broken: "Sequence[Change]",
    pairs: "Sequence[PairResult]",
) -> None:
    """What moving from the first to the second would do."""
    first, second = names
    click.echo(f"Moving from {first} to {second}: fixes {len(fixed)}, breaks {len(broken)}.")
    for pair in pairs:
        if {pair.first, pair.second} == {first, second} and pair.usd_per_1k is not None:
            sign = 1 if pair.first == first else -1
            saved = sign * pair.usd_per_1k.value
            word = "saves" if saved >= 0 else "costs"
            click.echo(f"It {word} {usd(abs(saved))} per 1,000 requests.")
    for title, changes in (("Fixed", fixed), ("Broken", broken)):
        rows = [
            (c.question_id[:36], _short(c.asked), _short(c.expected), _short(c.first),
             _short(c.second))
            for c in changes[:SHOWN_CHANGES]
        ]  # fmt: skip
        if rows:
            table(title, ("request", "asked", "right", first, second), rows)


def _verdict(r: "BackendResult") -> str:
    if not r.requirements:
        return "-"
    missed = [q.name for q in r.requirements if q.judgement == "missed"]
    if missed:
        return f"misses {', '.join(missed)}"
    return "meets all" if r.meets_all else "undecided"


def _milliseconds(value_us: float | None) -> str:
    return "-" if value_us is None else f"{value_us / 1000:.0f}"


def _short(text: str | None) -> str:
    words = " ".join((text or "-").split())
    return words if len(words) <= CELL_CHARACTERS else words[: CELL_CHARACTERS - 1] + "…"
