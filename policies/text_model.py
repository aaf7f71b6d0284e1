"""P(an answer is acceptable) from the words and the shape of texts, one head per backend.

Fitted by learning/fit.py, served from dictionaries and tuples alone, equal to the fitted model
to 1e-6. A head is linear:

    z = bias + sum over texts (weights . grams) / |grams| + weights . numbers + the task's weight
    P = 1 / (1 + exp(-z))

Each text's n-grams count once and weigh by how rare they are. What the fit never saw, a word or
a task, counts nothing: the estimate falls back on the rest.

The weights of a slot stand two and two, as fixed-point numbers in the halves of one 64-bit
number, the square of its rarity first. So a text is a look-up and a machine addition a slot for
every two heads. A dictionary of n-grams (114,000: 15.7 MB) held the same in four places of memory
each; the arrays of three heads take 4 MB.
"""

from array import array
from collections.abc import Sequence
from math import exp, sqrt
from operator import itemgetter, mul

import msgspec

from .text_features import TOKENS_MAX, read_part, shape_of, slots_of, tokens_of

HALF_BITS = 32
SQUARE_SCALE = 256
"""Squares of rarities are whole multiples of 1 / 256; those of a text's slots fit a half."""
SLOTS_READ_MAX = 2 * TOKENS_MAX
NOTHING = 0
"""A slot that no n-gram keeps: of fewer than two `itemgetter` makes no tuple."""
LOGIT_MAX = 30.0
"""Beyond it a probability is 0 or 1 to a float's last digit."""

_HALF = 1 << (HALF_BITS - 1)
_MASK = (1 << HALF_BITS) - 1


class Grams:
    """What the slots of one text weigh: arrays of 2^bits numbers, and what a unit of each head is
    worth. Never changed."""

    __slots__ = ("bits", "pairs", "units")

    def __init__(
        self, bits: int, pairs: tuple["array[int]", ...], units: tuple[float, ...]
    ) -> None:
        self.bits = bits
        self.pairs = pairs
        self.units = units

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grams):
            return NotImplemented
        return self.pairs == other.pairs and self.units == other.units

    def __hash__(self) -> int:
        return hash((self.bits, self.units))

    def add_to(self, logits: list[float], tokens: Sequence[bytes]) -> None:
        """Add what a text says to every head's logit; a text nothing of which is known adds 0."""
        # a third of what `map` takes, for an array's own look-up is no method
        taken = itemgetter(NOTHING, NOTHING, *slots_of(tokens, self.bits))
        halves: list[int] = []
        for pair in self.pairs:
            total = sum(taken(pair))
            low = ((total + _HALF) & _MASK) - _HALF
            halves.append(low)
            halves.append((total - low) >> HALF_BITS)
        squares = halves[0]
        if squares > 0:
            factor = 1.0 / sqrt(squares / SQUARE_SCALE)
            for number, unit in enumerate(self.units):
                logits[number] += halves[number + 1] * unit * factor


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
            grams.add_to(logits, tokens)
        return list(map(probability, logits))

    def predict_prompt(self, text: str, task: str) -> list[float]:
        """P(acceptable) per head of a model fitted on prompts, for one that says `text`."""
        text = read_part(text)
        tokens = tokens_of(text)
        return self.predict((tokens,), shape_of(text, tokens), task)


def probability(logit: float) -> float:
    """The logistic function, without overflow."""
    return 1.0 / (1.0 + exp(-min(LOGIT_MAX, max(-LOGIT_MAX, logit))))


def pack_grams(
    bits: int, slots: Sequence[int], squares: Sequence[float], heads: Sequence[Sequence[float]]
) -> Grams:
    """A text's table: per slot the square of its rarity, and what it adds to each head.

    A head's unit is as small as lets the most that a text can add up to fit a half. Slot NOTHING
    stays empty: it is not to be among `slots`.
    """
    units = [_unit(weights) for weights in heads]
    columns = [[round(square * SQUARE_SCALE) for square in squares]]
    columns += [
        [round(weight / unit) for weight in weights]
        for weights, unit in zip(heads, units, strict=True)
    ]
    if len(columns) % 2:
        columns.append([0] * len(slots))
    pairs = []
    for low, high in zip(columns[::2], columns[1::2], strict=True):
        pair = array("q", bytes(8 << bits))
        for slot, one, other in zip(slots, low, high, strict=True):
            pair[slot] = (other << HALF_BITS) + one
        pairs.append(pair)
    return Grams(bits, tuple(pairs), tuple(units))


def _unit(weights: Sequence[float]) -> float:
    most = sum(sorted(map(abs, weights), reverse=True)[:SLOTS_READ_MAX])
    return most / (_HALF - 1 - SLOTS_READ_MAX) if most > 0.0 else 1.0  # each is rounded by 1/2
