"""P(an answer is acceptable) from the words and the shape of texts, one head per backend.

Fitted by learning/fit.py, served from dictionaries and tuples alone, equal to the fitted model
to 1e-6. A head is linear:

    z = bias + sum over texts (weights . grams) / |grams| + weights . numbers + the task's weight
    P = 1 / (1 + exp(-z))

Each text's n-grams count once and weigh by how rare they are. What the fit never saw, a word or
a task, counts nothing: the estimate falls back on the rest.

An n-gram's weights for all heads, and the square of its rarity, stand side by side as
fixed-point numbers in the lanes of one whole number. So a text is one look-up and one addition
an n-gram, however many heads there are: 14 us where an array a head took 32 us (300 characters,
3 heads).
"""

from collections.abc import Iterable, Sequence
from itertools import repeat
from math import exp, sqrt
from operator import mul

import msgspec

from .text_features import grams_of, read_part, shape_of, tokens_of

LANE_BITS = 60  # two digits of a Python integer
FRACTION_BITS = 36
"""A weight is right to 2^-37 and a sum of thousands to 1e-8; sums up to 2^23 fit a lane."""
LOGIT_MAX = 30.0
"""Beyond it a probability is 0 or 1 to a float's last digit."""

_HALF = 1 << (LANE_BITS - 1)
_MASK = (1 << LANE_BITS) - 1
_SCALE = float(1 << FRACTION_BITS)

Grams = dict[int, int]
"""Hash of an n-gram -> its lanes: the square of its rarity, then one weight per head."""


class Head(msgspec.Struct, frozen=True):
    """What one backend's answers depend on, n-grams left out."""

    backend: str
    bias: float
    numbers: tuple[float, ...]
    tasks: dict[str, float]


class TextModel(msgspec.Struct, frozen=True):
    """See the module."""

    texts: tuple[Grams, ...]
    heads: tuple[Head, ...]
    labels: int
    """How many labelled requests it was fitted on."""

    @property
    def backends(self) -> tuple[str, ...]:
        """In the order of what `predict` gives."""
        return tuple(head.backend for head in self.heads)

    def predict(
        self, texts: Sequence[Sequence[bytes]], numbers: Sequence[float], task: str
    ) -> list[float]:
        """P(acceptable) per head. `texts` are token lists, as many as the fit had."""
        logits = [
            head.bias + sum(map(mul, head.numbers, numbers)) + head.tasks.get(task, 0.0)
            for head in self.heads
        ]
        for grams, tokens in zip(self.texts, texts, strict=True):
            lanes = sum(map(grams.get, grams_of(tokens), repeat(0)))
            if lanes:
                _add_lanes(logits, lanes)
        return list(map(probability, logits))

    def predict_prompt(self, text: str, task: str) -> list[float]:
        """P(acceptable) per head of a model fitted on prompts, for one that says `text`."""
        text = read_part(text)
        tokens = tokens_of(text)
        return self.predict((tokens,), shape_of(text, tokens), task)


def probability(logit: float) -> float:
    """The logistic function, without overflow."""
    return 1.0 / (1.0 + exp(-min(LOGIT_MAX, max(-LOGIT_MAX, logit))))


def lanes_of(values: Iterable[float]) -> int:
    """Numbers as the lanes of one, the first one lowest. Each must be below 2^23."""
    packed = 0
    for lane, value in enumerate(values):
        packed += round(value * _SCALE) << (LANE_BITS * lane)
    return packed


def _add_lanes(logits: list[float], lanes: int) -> None:
    squares = lanes & _MASK  # never negative
    factor = 1.0 / (_SCALE * sqrt(squares / _SCALE))
    rest = lanes >> LANE_BITS
    for number in range(len(logits)):
        lane = ((rest + _HALF) & _MASK) - _HALF
        rest = (rest - lane) >> LANE_BITS
        logits[number] += lane * factor
