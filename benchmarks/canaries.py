"""Simulated canaries: how many bad ones are promoted, how many are stopped, and how soon.

    python -m benchmarks.canaries [--canaries 1000] [--answers 4000]

Each is played through all its stages by the very state machine the keeper runs, with chance from
a seed of its own. `at the limit` is the hardest a bad one can be; `bad` ones miss one limit by what
an operator would notice; one is good until it has a tenth of the traffic. Promotion of any of
these is false. The good ones show what that costs: how many answers until they have taken over.
"""

import argparse
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Final, NamedTuple

from policies.canary_run import CanaryRun, advance, begin_run, saw_new, saw_old, saw_pair
from policies.canary_trial import COST_TOLERANCE, Seen
from policies.words import Canary, KeepIf, Route

OLD_ERROR: Final = 0.09
MARGIN: Final = 0.005
LATE_ALLOWED: Final = 0.05
OLD_COST_USD: Final = 0.002
CONTROLS: Final = 3
"""Answers of the old backend shown for one of the new one; real traffic has more."""
FALSE_PROMOTES_MAX: Final = 0.05


class Model(NamedTuple):
    """A simulated canary: what is true of it."""

    name: str
    error: float = OLD_ERROR - 0.04
    late: float = 0.02
    cost: float = 0.6
    """Times the old one's."""
    later_error: float | None = None
    """From a tenth of the traffic on."""
    is_bad: bool = True


MODELS: Final = (
    Model("error at the limit", error=OLD_ERROR + MARGIN),
    Model("latency at the limit", late=LATE_ALLOWED),
    Model("cost at the limit", cost=1.0 + COST_TOLERANCE),
    Model("bad: error +8 pp", error=OLD_ERROR + 0.08),
    Model("bad: error of 50 %", error=0.5),
    Model("bad: 15 % late", late=0.15),
    Model("bad: 60 % dearer", cost=1.6),
    Model("bad from 10 % on", later_error=0.3),
    Model("good", is_bad=False),
)
CLAUSE: Final = Canary(
    "new", "old", ("shadow", 0.01, 0.1, 1.0),
    KeepIf(error=MARGIN, latency_quantile=1 - LATE_ALLOWED, latency_s=0.2, cost=0.0),
    min_samples=100, then="promote",
)  # fmt: skip
ROUTE: Final = Route(name="extract", candidates=("old",), canary=CLAUSE)


class Played(NamedTuple):
    """How one canary ended: `running` is one the answers did not suffice for."""

    status: str
    answers: int


def play(model: Model, seed: int, *, answers: int) -> Played:
    """One canary's life, at most so many of its answers long."""
    chance = random.Random(f"{model.name}:{seed}")
    run = begin_run(ROUTE, "", now_us=0, by="keeper", reason="simulated")
    for count in range(1, answers + 1):
        run = advance(_answer(run, model, chance), CLAUSE, now_us=count)
        if run.status != "running":
            return Played(run.status, count)
    return Played("running", answers)


def _answer(run: CanaryRun, model: Model, chance: random.Random) -> CanaryRun:
    stage = run.stages[run.stage]
    is_later = model.later_error is not None and not isinstance(stage, str) and stage >= 0.1
    error = model.later_error if is_later and model.later_error is not None else model.error
    new = _seen(chance, error, model.late, model.cost)
    if stage == "shadow":
        return saw_pair(run, new, _seen(chance, OLD_ERROR, 0.03, 1.0))
    for _ in range(CONTROLS if stage != 1.0 else 0):
        run = saw_old(run, _seen(chance, OLD_ERROR, 0.03, 1.0))
    return saw_new(run, new)


def _seen(chance: random.Random, error: float, late: float, cost: float) -> Seen:
    return Seen(
        loss=float(chance.random() < error),
        is_judged=True,
        is_late=chance.random() < late,
        cost_usd=OLD_COST_USD * cost * chance.lognormvariate(-0.08, 0.4),
    )


class Figures(NamedTuple):
    """What became of all canaries of one kind."""

    model: Model
    ends: Counter[str]
    median_answers: int
    """Of those that ended."""

    def share(self, status: str) -> float:
        """Of all that were played."""
        return self.ends[status] / max(1, self.ends.total())


def play_all(
    model: Model, *, canaries: int, answers: int, run: Callable[..., Iterable[Played]] = map
) -> Figures:
    """Canaries of one kind, each with a seed of its own; `run` is what maps them."""
    played = list(run(partial(play, model, answers=answers), range(canaries)))
    lengths = sorted(one.answers for one in played if one.status != "running")
    median = lengths[len(lengths) // 2] if lengths else 0
    return Figures(model, Counter(one.status for one in played), median)


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--canaries", type=int, default=1000)
    parser.add_argument("--answers", type=int, default=4000)
    options = parser.parse_args()
    print(f"{options.canaries} canaries of each kind, at most {options.answers} answers each")
    print(f"{'':24}{'promoted':>10}{'rolled back':>13}{'undecided':>11}{'median':>8}")
    started_s, worst = time.perf_counter(), 0.0
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as processes:
        spread = partial(processes.map, chunksize=20)
        for model in MODELS:
            found = play_all(model, canaries=options.canaries, answers=options.answers, run=spread)
            shares = [found.share(status) for status in ("promoted", "rolled_back", "running")]
            print(f"{model.name:24}{shares[0]:>10.1%}{shares[1]:>13.1%}{shares[2]:>11.1%}"
                  f"{found.median_answers:>8}", flush=True)  # fmt: skip
            worst = max(worst, shares[0]) if model.is_bad else worst
    print(f"false promotes, worst kind: {worst:.1%}   (goal at most {FALSE_PROMOTES_MAX:.0%})")
    print(f"{time.perf_counter() - started_s:.0f} s")


if __name__ == "__main__":
    main()
