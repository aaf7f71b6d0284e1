"""What the figures of `make bench-routing` are held to: at least, aimed at, measured.

A goal names a figure by its row and column. Rows whose names begin alike are held to together:
the worst of them counts, or all of them pooled where each alone is mostly chance.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

Figures = Mapping[str, Mapping[str, float | None]]

POOLED: Final = "pooled"


class Goal(NamedTuple):
    """One promise of the project. Shares are written as shares."""

    name: str
    row: str
    """The row's name; where no row has it, the beginning of several that count."""
    column: str
    sense: Literal[">=", "<="]
    least: float
    aim: float | None = None
    how: Literal["worst", "pooled"] = "worst"


GOALS = (
    Goal("MMLU, 5 folds: APGR", "MMLU 5 folds", "apgr", ">=", 0.70, 0.75),
    Goal("MMLU, 5 folds: CPT50", "MMLU 5 folds", "cpt50", "<=", 0.25, 0.22),
    Goal("MMLU, 5 folds: CPT80", "MMLU 5 folds", "cpt80", "<=", 0.55, 0.50),
    Goal("MMLU, 5 folds: 95 % of the strong", "MMLU 5 folds", "near", "<=", 0.40, 0.36),
    Goal("MMLU, 1,500 labels: APGR", "MMLU 1,500 labels", "apgr", ">=", 0.64, 0.68),
    Goal("MMLU, unseen subjects: APGR", "MMLU unseen subjects", "apgr", ">=", 0.63, 0.66),
    Goal("MMLU: ECE of P(weak right)", "MMLU 5 folds", "ece", "<=", 0.03, 0.02),
    Goal("GSM8K cascade: APGR", "GSM8K 5 folds, cascade", "apgr", ">=", 0.80, 0.84),
    Goal("GSM8K cascade: strong beaten at", "GSM8K 5 folds, cascade", "beaten", "<=", 0.70, 0.60),
    Goal("GSM8K cascade: ECE of confidences", "GSM8K 5 folds, cascade", "ece", "<=", 0.03, 0.02),
    Goal("ZeroEval agreement: gap closed", "agreement whole", "gap", ">=", 0.98),
    Goal("ZeroEval agreement: dear calls", "agreement whole", "calls", "<=", 0.16, 0.14),
    Goal("Promise broken, any target and n", "promise ", "broken", "<=", 0.05),
    Goal("At 3,000: above ideal, margin, MMLU", "tight MMLU error <= strong", "excess", "<=", 0.08),
    Goal("At 3,000: above ideal, limit, MMLU", "tight MMLU error <= 2", "excess", "<=", 0.08),
    Goal("At 3,000: above ideal, GSM8K", "tight GSM8K", "excess", "<=", 0.08),
    Goal("Monitor: alarms before 2 x target", "monitor", "in_time", ">=", 0.90),
    Goal("Monitor: false alarms", "monitor", "false", "<=", 0.05),
    Goal("Backtest, DR: covered, at least", "backtest ", "covers", ">=", 0.93, how=POOLED),
    Goal("Backtest, DR: covered, at most", "backtest ", "covers", "<=", 0.97, how=POOLED),
    Goal("Backtest, SNIPS: covered, at least", "backtest ", "snips", ">=", 0.93, how=POOLED),
    Goal("Backtest, SNIPS: covered, at most", "backtest ", "snips", "<=", 0.97, how=POOLED),
    Goal("Backtest: thin logs refused", "refused ", "refused", ">=", 1.0),
    Goal("Latency: inside less what was asked", "latency ", "spare", ">=", 0.0),
)


class Verdict(NamedTuple):
    """A goal and what was measured; None where it was not, or never reached."""

    goal: Goal
    measured: float | None
    row: str
    """The row that decided."""

    @property
    def is_met(self) -> bool:
        """Whether what was promised at least is kept."""
        return self.measured is not None and _holds(self.goal, self.measured, self.goal.least)


def verdicts(figures: Figures, goals: Sequence[Goal] = GOALS) -> Iterator[Verdict]:
    """Every goal with the figure it is held to; goals of rows that were not run are left out."""
    for goal in goals:
        names = [goal.row] if goal.row in figures else figures
        found = {
            name: figures[name].get(goal.column)
            for name in names
            if name.startswith(goal.row) and goal.column in figures[name]
        }
        if found:
            yield _pooled(goal, found) if goal.how == POOLED else _worst(goal, found)


def line(verdict: Verdict) -> str:
    """One row of the table."""
    goal = verdict.goal
    aim = "" if goal.aim is None else f"aim {goal.aim:.3f}"
    met = "met" if verdict.is_met else "MISSED"
    shown = "never" if verdict.measured is None else f"{verdict.measured:.3f}"
    return (
        f"  {goal.name:36} {goal.sense} {goal.least:.3f}  {aim:10} {shown:>6}  {met:7}{verdict.row}"
    )


def _worst(goal: Goal, found: Mapping[str, float | None]) -> Verdict:
    for name, value in found.items():
        if value is None:
            return Verdict(goal, None, name)
    known = {name: value for name, value in found.items() if value is not None}
    choose = min if goal.sense == ">=" else max
    row = choose(known, key=lambda name: known[name])
    return Verdict(goal, known[row], row if len(known) > 1 else "")


def _pooled(goal: Goal, found: Mapping[str, float | None]) -> Verdict:
    values = [value for value in found.values() if value is not None]
    return Verdict(goal, sum(values) / len(values), f"mean of {len(values)} rows")


def _holds(goal: Goal, measured: float, limit: float) -> bool:
    return measured >= limit if goal.sense == ">=" else measured <= limit
