"""What another policy would have come to, from a log whose choices had known probabilities.

    SNIPS   rows where the log did what the new policy would do, weighed by 1 / probability
    DR      a model's guess for every row, corrected by those rows; right if either is

Both with 95 % intervals; the estimate refuses where the log cannot say. Requests of one
conversation share a draw where routing is sticky, so a `unit` of rows counts as one observation
for the interval. (Swaminathan and Joachims 2015; Dudik, Langford and Li 2011.)
"""

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

ESS_MIN = 200.0
DIFFERING_MIN = 30
"""Rows where the two policies differ and the log took the new choice. Without any all weights are
equal and the effective sample size looks excellent."""
CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


class Row(NamedTuple):
    """One logged request, as both policies see it."""

    value: float | None
    """What came of it: cost, seconds, 1 for a wrong answer. None: not known."""
    propensity: float
    """With which the log took what it took."""
    new_share: float
    """Probability with which the new policy takes the same; 1 or 0 where it does not explore."""
    is_differing: bool
    """Whether the new policy's choice is another than the one the log preferred."""
    guess_logged: float = 0.0
    """A model's guess of the value under what the log took, made without this row."""
    guess_new: float = 0.0
    """The same under the new policy."""
    unit: str = ""
    """The conversation; empty: the row stands for itself."""
    is_covered: bool = True
    """Whether the log could have taken all that the new policy may take."""


class Estimate(NamedTuple):
    """A mean under the new policy with its interval."""

    value: float
    low: float
    high: float

    def covers(self, truth: float) -> bool:
        """Whether the truth is inside."""
        return self.low <= truth <= self.high


class Finding(NamedTuple):
    """What the log says of a new policy. `refusal` says why the estimates are not to be used."""

    snips: Estimate | None
    doubly_robust: Estimate | None
    logged: Estimate | None
    rows: int
    effective: float
    """Effective sample size."""
    differing: int
    """Differing rows where the log took the new choice."""
    refusal: str | None


def judge_policy(rows: Iterable[Row]) -> Finding:
    """Estimate the new policy's mean value; rows whose value is unknown are left out."""
    known = [row for row in rows if row.value is not None and row.value == row.value]
    weights = [row.new_share / row.propensity for row in known if row.propensity > 0]
    total = sum(weights)
    effective = total**2 / sum(w * w for w in weights) if total else 0.0
    differing = sum(row.is_differing and row.new_share > 0 for row in known)
    refusal = _refusal(known, effective, differing)
    if not known or not total:
        return Finding(None, None, None, len(known), effective, differing, refusal)
    return Finding(
        _snips(known, weights),
        _doubly_robust(known, weights),
        _mean([row.value or 0.0 for row in known], known),
        len(known),
        effective,
        differing,
        refusal,
    )


def _refusal(rows: Sequence[Row], effective: float, differing: int) -> str | None:
    if not rows:
        return "no row of the log has a known value"
    if any(row.propensity <= 0 for row in rows):
        return "the log has choices without a probability"
    uncovered = sum(not row.is_covered for row in rows)
    if uncovered:
        return f"the log could never have taken the new choice in {uncovered} of {len(rows)} rows"
    moves = any(row.is_differing for row in rows)
    if moves and differing < DIFFERING_MIN:
        return (
            f"only {differing} rows took the new choice where the policies differ;"
            f" {DIFFERING_MIN} are needed: explore more, or wait"
        )
    if effective < ESS_MIN:
        return f"effective sample size {effective:.0f} is below {ESS_MIN:.0f}"
    return None


def _snips(rows: Sequence[Row], weights: Sequence[float]) -> Estimate:
    total = sum(weights)
    mean = sum(w * (row.value or 0.0) for w, row in zip(weights, rows, strict=True)) / total
    errors = [w * ((row.value or 0.0) - mean) for w, row in zip(weights, rows, strict=True)]
    return _interval(mean, errors, rows, total)


def _doubly_robust(rows: Sequence[Row], weights: Sequence[float]) -> Estimate:
    """The correction is self-normalised: the weights' own chance would add to it otherwise."""
    scale = len(rows) / sum(weights)
    values = [
        row.guess_new + w * scale * ((row.value or 0.0) - row.guess_logged)
        for w, row in zip(weights, rows, strict=True)
    ]
    return _mean(values, rows)


def _mean(values: Sequence[float], rows: Sequence[Row]) -> Estimate:
    count = len(values)
    mean = sum(values) / count
    return _interval(mean, [value - mean for value in values], rows, count)


def _interval(mean: float, errors: Sequence[float], rows: Sequence[Row], scale: float) -> Estimate:
    """Around `mean`, whose error is the sum of `errors` divided by `scale`.

    Errors of one conversation are added before they are squared. Where few rows carry most of the
    variance it is itself uncertain: Student's t with Satterthwaite's degrees of freedom.
    """
    units: dict[str, float] = {}
    squares = []
    for error, row in zip(errors, rows, strict=True):
        if row.unit:
            units[row.unit] = units.get(row.unit, 0.0) + error
        else:
            squares.append(error * error)
    squares += [error * error for error in units.values()]
    total = sum(squares)
    if total <= 0.0 or len(squares) < 2:
        return Estimate(mean, mean, mean)
    freedom = max(2.0, total**2 / sum(square * square for square in squares) - 1)
    half = student(freedom) * sqrt(total) / scale
    return Estimate(mean, mean - half, mean + half)


def student(freedom: float) -> float:
    """The 97.5 % quantile of Student's t, by its expansion around the normal one.

    Right to 0.01 from three degrees of freedom on (Abramowitz and Stegun, 26.7.5).
    """
    z = _Z
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
