"""Fitting P(acceptable) on labelled requests: the extra `[fit]`, never loaded by the server.

Logistic regression per backend on one shared set of features. Features, penalties and the least
count of an n-gram were chosen on other splits of the open rows than the figures are quoted on;
tried and refused there: pretrained word vectors (256 numbers: worse at every scale), boosted and
extremely random trees, kernel ridge, three n-grams, a fit of the difference itself.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from math import log
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from policies.text_features import (
    SLOT_BITS_MAX,
    SLOT_BITS_MIN,
    read_part,
    shape_of,
    slots_of,
    tokens_of,
)
from policies.text_model import NOTHING, SQUARE_SCALE, Grams, Head, TextModel, pack_grams

SEEN_MIN = 2
"""An n-gram of one single request says nothing of another."""
SLOTS_EACH = 4
"""Slots of a table for every n-gram kept: few labels make small models."""
SLOT_BITS_OF_SEVERAL = 17
"""Where there are two texts, prompt and answer, each has 2 MB with three heads; one alone has 8."""
NUMBER_SCALE = 0.1
"""Of a number's spread; the penalty falls on few numbers and many words alike."""
TASK_SCALE = 0.3
"""A task's own weight moves less easily than words do."""
INVERSE_PENALTY = 0.8
ITERATIONS_MAX = 500
PER_CLASS_MIN = 5
"""Fewer right or wrong answers give a rate, not a slope."""
CALIBRATED_BELOW = 5000
"""With fewer labels the penalty pulls probabilities together: inner folds say by how much (ECE on
GSM8K, 840 labels, 0.039 without). With more it is not seen (MMLU, 9,000 labels, 0.016)."""
INNER_FOLDS = 4

Outcomes = Mapping[str, Sequence[int | None]]


class Example(NamedTuple):
    """What is known of one request before its outcome."""

    texts: tuple[list[bytes], ...]
    numbers: tuple[float, ...]
    task: str


def prompt_example(text: str, task: str) -> Example:
    """The features of a request before the call."""
    text = read_part(text)
    tokens = tokens_of(text)
    return Example((tokens,), shape_of(text, tokens), task)


def fit_model(examples: Sequence[Example], outcomes: Outcomes, *, signals: int = 0) -> TextModel:
    """Fit one head per backend. An outcome is 1, 0, or None where there is no label.

    The last `signals` numbers are known to tell much, and are hardly held back by the penalty.
    Raises ValueError where there is nothing to fit.
    """
    if not examples or not outcomes:
        raise ValueError("no labelled requests to fit")
    design = _Design(examples, signals)
    fitted = [_fit_head(design, labels) for labels in outcomes.values()]
    heads = [
        _export(name, design, weights, bias)
        for name, (weights, bias) in zip(outcomes, fitted, strict=True)
    ]
    texts = _pack(design, [weights for weights, _ in fitted])
    return TextModel(tuple(texts), tuple(heads), len(examples))


class _Text:
    """One text of all examples: its n-grams' slots, their rarity, its part of the matrix."""

    def __init__(self, documents: Sequence[Sequence[bytes]], bits_max: int) -> None:
        self.bits = bits_max
        slots, ends, seen = _slots(documents, self.bits)
        enough = int(np.count_nonzero(seen >= SEEN_MIN))
        self.bits = max(SLOT_BITS_MIN, min(bits_max, (SLOTS_EACH * enough).bit_length()))
        if self.bits < bits_max:
            slots, ends, seen = _slots(documents, self.bits)
        kept = np.flatnonzero(seen >= SEEN_MIN)
        self.kept = kept.tolist()
        self.rarity = _rarity(len(documents), seen[kept])
        place = np.full(1 << self.bits, -1)
        place[kept] = np.arange(len(kept))
        places = place[slots]
        starts = np.concatenate([[0], np.cumsum(places >= 0)])[ends]
        places = places[places >= 0]
        shape = (len(documents), len(kept))
        weighed = sparse.csr_matrix((self.rarity[places], places, starts), shape=shape)
        length = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
        self.matrix = sparse.diags(1 / np.where(length > 0, length, 1.0)) @ weighed


def _slots(documents: Sequence[Sequence[bytes]], bits: int) -> tuple[Any, Any, Any]:
    """All documents' slots in one row, where each document ends, how many documents have each."""
    found = [sorted(slots_of(tokens, bits)) for tokens in documents]
    ends = np.cumsum([0, *map(len, found)])
    slots = np.fromiter(chain.from_iterable(found), np.int64, int(ends[-1]))
    seen = np.bincount(slots, minlength=1 << bits)
    seen[NOTHING] = 0
    return slots, ends, seen


def _rarity(documents: int, seen: Any) -> Any:
    """The rarer the more it weighs; the squares as exact as the served model keeps them."""
    squares = (np.log((1 + documents) / (1 + seen)) + 1) ** 2
    return np.sqrt(np.round(squares * SQUARE_SCALE) / SQUARE_SCALE)


class _Design:
    """All features of all examples as one sparse matrix: texts, numbers, tasks."""

    def __init__(self, examples: Sequence[Example], signals: int = 0) -> None:
        count = len(examples[0].texts)
        bits_max = SLOT_BITS_MAX if count == 1 else SLOT_BITS_OF_SEVERAL
        self.texts = [
            _Text([example.texts[position] for example in examples], bits_max)
            for position in range(count)
        ]
        numbers = np.array([example.numbers for example in examples], float)
        self.middle = numbers.mean(axis=0)
        scale = np.full(numbers.shape[1], NUMBER_SCALE)
        scale[numbers.shape[1] - signals :] = 1.0
        self.factor = scale / np.where(numbers.std(axis=0) > 0, numbers.std(axis=0), np.inf)
        self.tasks = sorted({example.task for example in examples})
        column = {task: place for place, task in enumerate(self.tasks)}
        places = [column[example.task] for example in examples]
        ones = sparse.csr_matrix(
            (np.full(len(places), TASK_SCALE), (range(len(places)), places)),
            shape=(len(places), len(self.tasks)),
        )
        scaled = sparse.csr_matrix((numbers - self.middle) * self.factor)
        blocks = [*(text.matrix for text in self.texts), scaled, ones]
        self.matrix = sparse.hstack(blocks).tocsr()


def _fit_head(design: _Design, labels: Sequence[int | None]) -> tuple[Any, float]:
    """Weights of all columns, and the bias."""
    rows = [row for row, label in enumerate(labels) if label is not None]
    known = np.array([labels[row] for row in rows], int)
    right = int(known.sum())
    if min(right, len(rows) - right) < PER_CLASS_MIN:
        share = (right + 0.5) / (len(rows) + 1)  # a rate, as if half of one more were right
        return np.zeros(design.matrix.shape[1]), log(share / (1 - share))
    matrix = design.matrix[rows]
    fitted = _regression().fit(matrix, known)
    slope, offset = 1.0, 0.0
    if len(rows) < CALIBRATED_BELOW and min(right, len(rows) - right) >= 10 * INNER_FOLDS:
        slope, offset = _calibration(matrix, known)
    return fitted.coef_[0] * slope, float(fitted.intercept_[0]) * slope + offset


def _regression() -> Any:
    """Newton's method: half the time of scikit-learn's default, and the same to more digits."""
    return LogisticRegression(C=INVERSE_PENALTY, max_iter=ITERATIONS_MAX, solver="newton-cg")


def _calibration(matrix: Any, known: Any) -> tuple[float, float]:
    """Slope and offset that make logits of rows a fit did not see come true (Platt, 1999)."""
    logits = np.zeros(len(known))
    folds = StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=0)
    for inside, outside in folds.split(logits, known):
        inner = _regression()
        inner.fit(matrix[inside], known[inside])
        logits[outside] = inner.decision_function(matrix[outside])
    line = LogisticRegression(C=1e3).fit(logits[:, None], known)
    slope = float(line.coef_[0][0])
    return (slope, float(line.intercept_[0])) if slope > 0 else (1.0, 0.0)


def _export(backend: str, design: _Design, weights: Any, bias: float) -> Head:
    """The fitted vector in plain parts; what scales a number goes into its weight."""
    start = sum(len(text.kept) for text in design.texts)
    numbers = weights[start : start + len(design.factor)] * design.factor
    tasks = (weights[start + len(design.factor) :] * TASK_SCALE).tolist()
    return Head(
        backend,
        bias - float(numbers @ design.middle),
        tuple(numbers.tolist()),
        dict(zip(design.tasks, tasks, strict=True)),
    )


def _pack(design: _Design, heads: Sequence[Any]) -> list[Grams]:
    packed, start = [], 0
    for text in design.texts:
        end = start + len(text.kept)
        columns = [(weights[start:end] * text.rarity).tolist() for weights in heads]
        squares = (text.rarity**2).tolist()
        packed.append(pack_grams(text.bits, text.kept, squares, columns))
        start = end
    return packed
