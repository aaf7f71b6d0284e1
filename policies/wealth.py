"""Betting on a mean: the one test behind promises over weighted labels, monitors and canaries.

To test "the mean of X is at least `mean`" one bets against it: capital starts at 1 and each X in
[0, 1] multiplies it by 1 + stake * (mean - X). If the claim holds, capital reaches 1 / delta with
probability at most delta, ever, however long one watches and whenever one looks (Ville, 1939).
Several stakes are played side by side and averaged, so none has to be tuned; the order of the
observations does not matter. (Waudby-Smith and Ramdas, "Estimating means of bounded random
variables by betting", 2023.)
"""

from math import exp, log

import msgspec

STAKES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 0.95)
"""Shares of the stake that a single worst observation would ruin."""


class Wealth(msgspec.Struct, frozen=True):
    """What bets against one claim have come to. State of a monitor; plain data."""

    claim: float
    """The mean that is bet against, 0..1, both ends excluded."""
    is_upper: bool
    """True bets that the mean is lower than claimed, False that it is higher."""
    log_capitals: tuple[float, ...] = (0.0,) * len(STAKES)
    count: int = 0
    total: float = 0.0

    @property
    def log_capital(self) -> float:
        """Of the average over all stakes."""
        top = max(self.log_capitals)
        return top + log(sum(exp(value - top) for value in self.log_capitals) / len(STAKES))

    @property
    def mean(self) -> float | None:
        """Of the observations; None before the first."""
        return self.total / self.count if self.count else None

    def has_refuted(self, delta: float) -> bool:
        """Whether the claim is refuted at level `delta`. Once true, stop or start anew."""
        return self.log_capital >= -log(delta)

    def bet(self, observation: float) -> "Wealth":
        """After one more observation in [0, 1]; unknown ones are left out by the caller.

        Raises ValueError outside of it, NaN included.
        """
        if not 0.0 <= observation <= 1.0:
            raise ValueError(f"an observation is 0 to 1, not {observation}")
        gain = self.claim - observation if self.is_upper else observation - self.claim
        limit = 1.0 - self.claim if self.is_upper else self.claim
        return msgspec.structs.replace(
            self,
            log_capitals=tuple(
                [
                    capital + log(1.0 + stake * gain / limit)
                    for capital, stake in zip(self.log_capitals, STAKES, strict=True)
                ]
            ),
            count=self.count + 1,
            total=self.total + observation,
        )


def against_at_least(claim: float) -> Wealth:
    """Bets that the mean is lower than `claim`: refuted, the mean is below it."""
    return Wealth(_inside(claim), is_upper=True)


def against_at_most(claim: float) -> Wealth:
    """Bets that the mean is higher than `claim`: refuted, the mean is above it."""
    return Wealth(_inside(claim), is_upper=False)


def _inside(claim: float) -> float:
    if not 0.0 < claim < 1.0:
        raise ValueError(f"a mean to bet against lies between 0 and 1, not at {claim}")
    return claim
