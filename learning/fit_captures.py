"""The models of policies/fitted.py from labelled captures: the half of them that is fitted on.

prompts   one example a request; a backend's outcome where a label says how it answered
answers   one example an answer, with what its tokens and the route's signals say
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from policies.fitted import SIGNAL_NAMES, Given, given_features
from policies.text_model import TextModel

from .fit import Example, Outcomes, fit_model, prompt_example
from .labelled import Row

LABELS_MAX = 20_000
"""The newest are fitted on: 1 GB of words where each prompt is as long as is read."""
LABELS_MIN = 40
"""Fewer requests tell no words apart."""


class Counted(NamedTuple):
    """Outcomes of one backend."""

    right: int = 0
    wrong: int = 0


class FitRefused(NamedTuple):
    """Why nothing is fitted."""

    reason: str
    labels: int
    labels_needed: int


class FitResult(NamedTuple):
    """What was fitted, and on how much."""

    prompts: TextModel
    answers: TextModel | None
    labels: int
    counts: dict[str, Counted]
    """By backend, of the prompts' outcomes."""
    answer_counts: dict[str, Counted]


def fit_rows(rows: Iterable[Row]) -> FitResult | FitRefused:
    """Fit on rows that have a label and belong to the half that is fitted on."""
    wanted = [row for row in rows if row.right and row.is_fitted_on][-LABELS_MAX:]
    if len(wanted) < LABELS_MIN:
        missing = LABELS_MIN - len(wanted)
        return FitRefused(
            f"{len(wanted)} labelled requests are too few to fit on, {missing} more are needed"
            f" (about {2 * missing} labels: the other half proves promises)",
            len(wanted),
            LABELS_MIN,
        )
    examples = [prompt_example(row.text, row.features.task) for row in wanted]
    outcomes = _outcomes([row.right for row in wanted])
    prompts = fit_model(examples, outcomes)
    answers, answer_outcomes = _fit_answers(wanted)
    return FitResult(prompts, answers, len(wanted), _counts(outcomes), _counts(answer_outcomes))


def _fit_answers(rows: Sequence[Row]) -> tuple[TextModel | None, Outcomes]:
    examples: list[Example] = []
    told: list[Mapping[str, int]] = []
    for row in rows:
        for given in row.answers:
            if given.backend in row.right:
                signals = (given.confidence, given.logprob_mean, given.logprob_min)
                seen = given_features(Given(row.text, given.text, *signals))
                examples.append(Example(*seen, row.features.task))
                told.append({given.backend: row.right[given.backend]})
    if len(examples) < LABELS_MIN:
        return None, {}
    outcomes = _outcomes(told)
    return fit_model(examples, outcomes, signals=len(SIGNAL_NAMES)), outcomes


def _outcomes(told: Sequence[Mapping[str, int]]) -> Outcomes:
    names = sorted({name for one in told for name in one})
    return {name: [one.get(name) for one in told] for name in names}


def _counts(outcomes: Outcomes) -> dict[str, Counted]:
    return {
        name: Counted(sum(label == 1 for label in labels), sum(label == 0 for label in labels))
        for name, labels in outcomes.items()
    }
