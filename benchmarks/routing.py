"""How well the router decides, on measured outcomes: the figures, and scores for a file.

    python -m benchmarks.routing [--fast] [--json FILE]
    python -m benchmarks.routing --train A.csv.gz --score B.csv --output scores.csv

The second form fits on A and writes `id,score` for B: the score is the benefit of the strong
model, P(strong right) - P(weak right). B's outcome columns may be missing. Where both files have
`weak_response`, the answer is read as well (a cascade); where both have `subject`, it is the task.
"""

import argparse
import csv
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from .outcomes import DATA, open_text, read_outcomes
from .routing_backtest import table
from .routing_goals import line as goal_line
from .routing_goals import verdicts
from .routing_latency import table as latency_table
from .routing_promises import Judged, alarms, grid
from .routing_rows import (
    Agreement,
    Scored,
    agreement,
    benefit,
    by_subject,
    examples_of,
    few_labels,
    fit_rows,
    gains,
    plain,
    run,
    stratified,
    unseen_chances,
)

PROMISE_DRAWS = 5000
"""Of labels. A promise that is kept 95 times in 100 breaks in up to 6.4 % of 1,000 draws by chance
alone, in up to 5.6 % of these."""
TIGHT_LABELS = 3000

CHEAP, SECOND, DEAR = (
    "Meta-Llama-3.1-8B-Instruct",
    "gpt-4o-mini-2024-07-18",
    "o1-mini-2024-09-12",
)


def main() -> None:
    """Print the figures, or write the scores of a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, help="labelled outcomes to fit on")
    parser.add_argument("--score", type=Path, help="requests to score")
    parser.add_argument("--output", type=Path, help="where the scores go")
    parser.add_argument("--fast", action="store_true", help="one split each: what CI holds")
    parser.add_argument("--json", type=Path, help="the figures as JSON too")
    options = parser.parse_args()
    given = [options.train, options.score, options.output]
    if any(given):
        if not all(given):
            parser.error("--train, --score and --output go together")
        try:
            write_scores(options.train, options.score, options.output)
        except ValueError as error:
            parser.error(str(error))
        return
    if not DATA.is_dir():
        print(f"skipped: no outcomes beside this project ({DATA.name} is missing)")
        sys.exit(0)
    figures = measure(is_fast=options.fast)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def write_scores(train: Path, score: Path, output: Path) -> None:
    """Fit on one file, score another. What only one of them tells (subjects, answers) is left out.

    Raises ValueError where nothing is labelled.
    """
    known, asked = read_outcomes(train), read_outcomes(score)
    if all(row.weak is None and row.strong is None for row in known):
        raise ValueError(f"{train}: no row with weak_correct or strong_correct of 0 or 1")
    with_answers = all(row.weak_response is not None for row in [*known, *asked])
    if not all(row.task for row in [*known, *asked]):
        known = [row._replace(task="") for row in known]
        asked = [row._replace(task="") for row in asked]
    model = fit_rows(examples_of(known, with_answers=with_answers), known)
    examples = examples_of(asked, with_answers=with_answers)
    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "score"])
        for row, example in zip(asked, examples, strict=True):
            writer.writerow([row.id, repr(benefit(model, example)[0])])


# -- the figures ---------------------------------------------------------------------------------


def measure(*, is_fast: bool) -> dict[str, dict[str, float | None]]:
    """Every row, printed as it comes."""
    found: dict[str, dict[str, float | None]] = {}
    for title, rows in (("MMLU", mmlu(is_fast=is_fast)), ("GSM8K", gsm8k(is_fast=is_fast))):
        print(f"\n{title}\n{HEAD}")
        for row in rows:
            print(line(row), flush=True)
            found[f"{title} {row.name}"] = row.figures._asdict() | {"ece": row.calibration}
    print("\nAgreement on ZeroEval GSM8K (nothing fitted): cheap -> dear, gap closed, dear calls")
    for name, met in zeroeval():
        print(
            f"  {name:34} {met.base:.1%} -> {met.top:.1%}  reached {met.reached:.1%}"
            f"  gap {met.gap:.1%}  calls {met.calls:.1%}"
        )
        found[f"agreement {name}"] = {"gap": met.gap, "calls": met.calls}
    found |= promises(is_fast=is_fast)
    print(f"\nHeld to (at least, aim, measured)\n{'  ':38}")
    for verdict in verdicts(found):
        print(goal_line(verdict))
    return found


def promises(*, is_fast: bool) -> dict[str, dict[str, float | None]]:
    """Rows of the promises, and of the monitor under shift."""
    found: dict[str, dict[str, float | None]] = {}
    known = read_outcomes(DATA / "routing" / "mmlu_outcomes.csv.gz")
    answered = read_outcomes(DATA / "routing" / "gsm8k_outcomes.csv.gz")
    examples = examples_of(known, with_answers=False)
    chances = unseen_chances(known, examples, stratified)
    judged = unseen_chances(answered, examples_of(answered, with_answers=True), stratified)
    print("\nPromises, 95 %: broken must be <= 5 %; share of strong calls, beside the ideal one")
    mmlu_rows, gsm8k_rows = Judged(known, gains(chances)), Judged(answered, gains(judged))
    for row in grid(mmlu_rows, gsm8k_rows, draws=500 if is_fast else PROMISE_DRAWS):
        print(
            f"  {row.name:34} n {row.labels:5}  broken {row.broken:5.1%}  share {row.share:.3f}"
            f"  ideal {row.ideal:.3f}  any test {row.least:.3f}"
            f"  plug-in broken {row.plug_in_broken:.1%}",
            flush=True,
        )
        found[f"promise {row.name} {row.labels}"] = {"broken": row.broken}
        if row.labels == TIGHT_LABELS:
            found[f"tight {row.name}"] = {"excess": row.share - row.ideal}
    scores = gains(unseen_chances(known, examples, by_subject))
    watched = alarms(known, scores, limit=0.25, draws=20 if is_fast else 200)
    print(
        f"\nMonitor under {watched.shifts} shifts of subjects (error >= 1.25 x the limit):"
        f" in time {watched.in_time:.1%}, after {watched.median_labels:.0f} labels in the middle;"
        f" false alarms without shift {watched.false:.1%}"
    )
    found["monitor"] = {"in_time": watched.in_time, "false": watched.false}
    print("\nBacktest: share of 95 % intervals that hold the truth, error in points, refused")
    for replay in table(known, chances, count=100 if is_fast else 400):
        print(
            f"  {replay.name:52} DR {replay.doubly_robust_covers:.1%}"
            f" ({100 * replay.doubly_robust_rmse:.1f})  SNIPS {replay.snips_covers:.1%}"
            f" ({100 * replay.snips_rmse:.1f})  refused {replay.refused:.0%}",
            flush=True,
        )
        if replay.is_thin:
            found[f"refused {replay.name}"] = {"refused": replay.refused}
        else:
            found[f"backtest {replay.name}"] = {
                "covers": replay.doubly_robust_covers, "snips": replay.snips_covers
            }  # fmt: skip
    return found | latencies(is_fast=is_fast)


def latencies(*, is_fast: bool) -> dict[str, dict[str, float | None]]:
    """Share of answers inside the budget, and their cost."""
    print(
        "\nLatency promises, Azure's conversation trace over LLMPerf's tails: inside, $ per 1,000"
    )
    found: dict[str, dict[str, float | None]] = {}
    for limit, rows in latency_table(count=2000 if is_fast else 19_000):
        print(f"  {limit.quantile:.0%} within {limit.budget_s:g} s, {limit.of}:", flush=True)
        for row in rows:
            print(f"    {row.name:28} {row.within:6.1%}  {row.usd_per_1k:.3f}")
        asked = f"latency {limit.quantile} {limit.budget_s} {limit.of}"
        kept = rows[0]
        found[asked] = {
            "within": kept.within, "spare": kept.within - limit.quantile,
            "usd_per_1k": kept.usd_per_1k,
        }  # fmt: skip
    return found


HEAD = f"  {'':34} APGR   CPT50  CPT80  95 %   beaten ECE    fitted on"


def line(row: Scored) -> str:
    """One row of the table."""
    calls = "".join(f"{_percent(value):7}" for value in row.figures[1:])
    ece = "-" if row.calibration != row.calibration else f"{row.calibration:.3f}"
    return f"  {row.name:34} {row.figures.apgr:.3f}  {calls}{ece:7}{row.fitted_on}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f}"


def mmlu(*, is_fast: bool) -> Iterator[Scored]:
    """Before the call: words, shape and task of the prompt."""
    rows = read_outcomes(DATA / "routing" / "mmlu_outcomes.csv.gz")
    chance = random.Random(0)
    yield plain("random", rows, [chance.random() for _ in rows])
    yield plain("prompt length", rows, [float(len(row.prompt)) for row in rows])
    examples = examples_of(rows, with_answers=False)
    yield run("5 folds", rows, examples, stratified, range(1 if is_fast else 3))
    yield run("1,500 labels", rows, examples, few_labels, range(3 if is_fast else 10))
    yield run("unseen subjects", rows, examples, by_subject, range(1 if is_fast else 3))
    if not is_fast:
        bare = [example._replace(task="") for example in examples]
        yield run("5 folds, task not told", rows, bare, stratified, range(3))


def gsm8k(*, is_fast: bool) -> Iterator[Scored]:
    """After the weak model's answer: prompt, answer, its arithmetic."""
    rows = read_outcomes(DATA / "routing" / "gsm8k_outcomes.csv.gz")
    yield plain("prompt length", rows, [float(len(row.prompt)) for row in rows])
    seeds = range(3 if is_fast else 10)
    if not is_fast:
        yield run("5 folds, before the call", rows, examples_of(rows, with_answers=False),
                  stratified, seeds)  # fmt: skip
    yield run("5 folds, cascade", rows, examples_of(rows, with_answers=True), stratified, seeds)


def zeroeval() -> Iterator[tuple[str, Agreement]]:
    """Three models; answers are compared as values."""
    answers: dict[str, dict[str, tuple[str, int]]] = {CHEAP: {}, SECOND: {}, DEAR: {}}
    with open_text(DATA / "routing" / "zeroeval_gsm8k.csv.gz") as file:
        for row in csv.DictReader(file):
            if row["model"] in answers:
                answers[row["model"]][row["id"]] = (row["pred"], int(row["correct"]))
    rows = [
        (one[0], other[0], one[1], other[1], answers[DEAR][key][1])
        for key, one in answers[CHEAP].items()
        for other in [answers[SECOND][key]]
    ]
    yield "agreement alone", agreement(iter(rows), whole_numbers=False)
    yield "agreement, whole numbers only", agreement(iter(rows), whole_numbers=True)


if __name__ == "__main__":
    main()
