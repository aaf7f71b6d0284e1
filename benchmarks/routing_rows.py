"""The rows of `make bench-routing` that need a fit: what is fitted where, and on which rows judged.

Every row here is fitted on labels of the same kind as it is judged on, other rows of the same
file; that is easier than RouteLLM's protocol (arena preferences and about 1,500 labels). The
harder twins stand beside it: few labels, and subjects the fit never saw.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from learning.fit import Example, fit_model, prompt_example
from policies.answer_features import answer_numbers
from policies.text_features import read_part, tokens_of
from policies.text_model import TextModel
from policies.values import agree, number_of

from .outcomes import Figures, Outcome, judge_score, mean_figures

FOLDS = 5
FEW = 1500

WEAK, STRONG = "weak", "strong"


class Scored(NamedTuple):
    """One figure row: its name, its figures, and what they were fitted on."""

    name: str
    figures: Figures
    fitted_on: str
    calibration: float
    """Expected calibration error of P(weak right) on rows the fit did not see."""


def examples_of(rows: Sequence[Outcome], *, with_answers: bool) -> list[Example]:
    """The features of every row; with the weak model's answer where it may be read."""
    if not with_answers:
        return [prompt_example(row.prompt, row.task) for row in rows]
    return [answer_example(row.prompt, row.weak_response or "", row.task) for row in rows]


def answer_example(prompt: str, answer: str, task: str) -> Example:
    """The features of a request and one answer to it."""
    texts = (tokens_of(read_part(prompt)), tokens_of(read_part(answer)))
    return Example(texts, answer_numbers(prompt, answer), task)


def fit_rows(examples: Sequence[Example], rows: Sequence[Outcome]) -> TextModel:
    """Both models' heads."""
    outcomes = {WEAK: [row.weak for row in rows], STRONG: [row.strong for row in rows]}
    return fit_model(examples, outcomes)


def benefit(model: TextModel, example: Example) -> tuple[float, float]:
    """(what asking the strong model gains, P(weak right))."""
    weak, strong = model.predict(example.texts, example.numbers, example.task)
    return strong - weak, weak


# -- ways to part the rows -----------------------------------------------------------------------

Split = tuple[list[int], list[int]]


def stratified(rows: Sequence[Outcome], seed: int) -> list[Split]:
    """Five folds with the same share of every pair of outcomes."""
    chance = random.Random(seed)
    kinds: dict[object, list[int]] = {}
    for place, row in enumerate(rows):
        kinds.setdefault((row.weak, row.strong), []).append(place)
    order: list[int] = []
    for kind in sorted(kinds, key=str):
        chance.shuffle(kinds[kind])
        order += kinds[kind]
    return _folds({place: number % FOLDS for number, place in enumerate(order)})


def by_subject(rows: Sequence[Outcome], seed: int) -> list[Split]:
    """Five folds of whole subjects: none is both fitted on and judged."""
    subjects = sorted({row.task for row in rows})
    random.Random(seed).shuffle(subjects)
    fold = {subject: number % FOLDS for number, subject in enumerate(subjects)}
    return _folds({place: fold[row.task] for place, row in enumerate(rows)})


def few_labels(rows: Sequence[Outcome], seed: int) -> list[Split]:
    """1,500 rows to fit on, all others to judge."""
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    return [(order[:FEW], order[FEW:])]


def _folds(fold: dict[int, int]) -> list[Split]:
    places = sorted(fold)
    return [
        ([p for p in places if fold[p] != number], [p for p in places if fold[p] == number])
        for number in range(FOLDS)
    ]


# -- judging -------------------------------------------------------------------------------------


def run(
    name: str,
    rows: Sequence[Outcome],
    examples: Sequence[Example],
    split: Callable[[Sequence[Outcome], int], list[Split]],
    seeds: Sequence[int],
    parts: int = FOLDS,
) -> Scored:
    """Fit and judge the first `parts` of every split; the figures are means over them."""
    figures, confidences = [], []
    fitted_on = 0
    for seed in seeds:
        for train, test in split(rows, seed)[:parts]:
            model = fit_rows([examples[i] for i in train], [rows[i] for i in train])
            scored = [benefit(model, examples[i]) for i in test]
            weak, strong = _known(rows, test)
            figures.append(judge_score([gain for gain, _ in scored], weak, strong))
            confidences += list(zip((sure for _, sure in scored), weak, strict=True))
            fitted_on = len(train)
    kind = "the same subjects" if split is not by_subject else "other subjects"
    return Scored(
        name,
        mean_figures(figures),
        f"{fitted_on:,} rows of {kind}",
        calibration_error(confidences),
    )


def unseen_chances(
    rows: Sequence[Outcome],
    examples: Sequence[Example],
    split: Callable[[Sequence[Outcome], int], list[Split]],
) -> list[tuple[float, float]]:
    """P(weak right), P(strong right) of every row, each from a model that did not see it."""
    chances = [(0.0, 0.0)] * len(rows)
    for train, test in split(rows, 0):
        model = fit_rows([examples[i] for i in train], [rows[i] for i in train])
        for place in test:
            example = examples[place]
            weak, strong = model.predict(example.texts, example.numbers, example.task)
            chances[place] = (weak, strong)
    return chances


def gains(chances: Sequence[tuple[float, float]]) -> list[float]:
    """What asking the strong model gains, row by row."""
    return [strong - weak for weak, strong in chances]


def plain(name: str, rows: Sequence[Outcome], scores: Sequence[float]) -> Scored:
    """A score that nothing was fitted for."""
    weak, strong = _known(rows, range(len(rows)))
    return Scored(name, judge_score(scores, weak, strong), "nothing", float("nan"))


def _known(rows: Sequence[Outcome], places: Sequence[int]) -> tuple[list[int], list[int]]:
    weak = [rows[place].weak or 0 for place in places]
    return weak, [rows[place].strong or 0 for place in places]


def calibration_error(pairs: Sequence[tuple[float, int]], bins: int = 10) -> float:
    """ECE over bins of equal numbers: mean |said - came true|."""
    ordered = sorted(pairs, key=lambda pair: pair[0])  # not by outcome among equals
    error = 0.0
    for number in range(bins):
        part = ordered[len(ordered) * number // bins : len(ordered) * (number + 1) // bins]
        if part:
            error += abs(sum(said - came for said, came in part))
    return error / max(1, len(ordered))


# -- agreement -----------------------------------------------------------------------------------


class Agreement(NamedTuple):
    """What accepting on agreement comes to."""

    base: float
    top: float
    reached: float
    calls: float

    @property
    def gap(self) -> float:
        """Share of the gap between the cheap and the dear model that is closed."""
        return (self.reached - self.base) / (self.top - self.base)


def agreement(
    answers: Iterator[tuple[str, str, int, int, int]], *, whole_numbers: bool
) -> Agreement:
    """Two cheap answers are asked; the dear model where they say different things.

    `answers` gives both cheap predictions and whether first, second and dear model are right.
    With `whole_numbers` an answer that is none fails its check, as `checks:` with
    `schema: {type: integer}` has it: it has no say, and the other one that passes is accepted.
    """
    rows = list(answers)
    reached = calls = 0
    for one, other, first, second, dear in rows:
        if agree(one, other):
            reached += first
        elif whole_numbers and _is_whole(other) and not _is_whole(one):
            reached += second
        elif whole_numbers and _is_whole(one) and not _is_whole(other):
            reached += first
        else:
            reached += dear
            calls += 1
    count = len(rows)
    base, top = sum(row[2] for row in rows) / count, sum(row[4] for row in rows) / count
    return Agreement(base, top, reached / count, calls / count)


def _is_whole(text: str) -> bool:
    number = number_of(text)
    return number is not None and number == number.to_integral_value()
