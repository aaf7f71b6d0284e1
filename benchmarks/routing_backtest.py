"""Does a backtest's interval hold the truth? 400 replays of logs whose truth is known.

A log of n requests is drawn from the measured outcomes; it routed by the score (half to the
strong model) and explored a share evenly. The new policy routes 25 % or 70 %. Its true error is
known from all rows. The guesses of DR are of models that did not see the row.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from learning.off_policy import Row, judge_policy

from .outcomes import Outcome

REPLAYS = 400
ENOUGH = 100
"""Rows drawn evenly: of fewer, less than 30 take a new choice where the policies differ."""


class Replayed(NamedTuple):
    """One kind of log and new policy."""

    name: str
    doubly_robust_covers: float
    snips_covers: float
    doubly_robust_rmse: float
    snips_rmse: float
    refused: float
    is_thin: bool
    """A log that cannot say: to be refused, and its intervals are not to be used."""


def replays(
    rows: Sequence[Outcome],
    chances: Sequence[tuple[float, float]],
    *,
    labels: int,
    explored: float,
    new_share: float,
    count: int = REPLAYS,
    is_thin: bool = False,
) -> Replayed:
    """`chances` are P(weak right), P(strong right) per row."""
    weak = np.array([row.weak or 0 for row in rows])
    strong = np.array([row.strong or 0 for row in rows])
    guess = np.array(chances)
    gain = guess[:, 1] - guess[:, 0]
    old = gain >= np.quantile(gain, 0.5)
    new = gain >= np.quantile(gain, 1 - new_share)
    truth = 1 - float(np.where(new, strong, weak).mean())
    chance = np.random.default_rng(labels + int(1000 * explored) + int(10 * new_share))
    errors, covers, refused = [], [], 0
    for _ in range(count):
        places = chance.integers(0, len(rows), labels)
        drawn = chance.random(labels) < explored
        took = np.where(drawn, chance.random(labels) < 0.5, old[places])
        value = 1 - np.where(took, strong[places], weak[places])
        odds = np.where(took == old[places], 1 - explored / 2, explored / 2)
        said = np.where(took, guess[places, 1], guess[places, 0])
        said_new = np.where(new[places], guess[places, 1], guess[places, 0])
        columns = (
            value.astype(float), odds, (took == new[places]).astype(float),
            old[places] != new[places], 1 - said, 1 - said_new,
        )  # fmt: skip
        found = judge_policy(
            [Row(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
        )
        refused += found.refusal is not None
        assert found.doubly_robust is not None
        assert found.snips is not None
        pair = (found.doubly_robust, found.snips)
        covers.append([estimate.covers(truth) for estimate in pair])
        errors.append([estimate.value - truth for estimate in pair])
    rmse = np.sqrt(np.mean(np.square(errors), axis=0))
    share = np.mean(covers, axis=0)
    name = f"{labels:,} labels, {explored:.0%} explored, 50 % -> {new_share:.0%} strong"
    return Replayed(name, *share.tolist(), *rmse.tolist(), refused / count, is_thin)


def table(
    rows: Sequence[Outcome], chances: Sequence[tuple[float, float]], *, count: int
) -> Iterator[Replayed]:
    """What is printed: logs that can say, and logs that explored too little."""
    for labels, explored in ((10_000, 0.05), (5_000, 0.10), (3_000, 0.20), (2_000, 0.01)):
        for share in (0.25, 0.70):
            is_thin = labels * explored < ENOUGH
            yield replays(
                rows, chances, labels=labels, explored=explored, new_share=share,
                count=count // 4 if is_thin else count, is_thin=is_thin,
            )  # fmt: skip
