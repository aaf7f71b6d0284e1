"""A hard cap on what a job may spend, in integer micro-dollars: reserved before a call is sent.

    reserve  the most the call can cost; refused where that would pass the cap
    settle   what it did cost; the rest of the reservation is free again

Both are transactions of the table `budgets`, whose own check holds the cap, so that two processes
on one job, or one that was killed and started again, cannot pass it together.
"""

import math
import sqlite3
from typing import Final

from pointsman.errors import PointsmanError
from pointsman.tokens import Price

from .ledger import Ledger

MICRO: Final = 1_000_000
TOKENS_PER_MESSAGE: Final = 16  # role and turn markers, whatever the template


class BudgetRefused(PointsmanError):
    """The cap, or a price or limit that is unknown, keeps a call from being sent."""


class Budget:
    """The budget `job` with a cap in US dollars; a later run with another cap changes it."""

    def __init__(self, ledger: Ledger, job: str, cap_usd: float) -> None:
        self._ledger = ledger
        self.job = job
        self.cap_micro = round(cap_usd * MICRO)
        self.overrun_micro = 0
        """What calls cost beyond what they could cost by our reckoning, and beyond the cap."""
        with ledger.transaction():
            row = ledger.row("select * from budgets where job_id = ?", (job,))
            committed = 0 if row is None else row["spent_micro"] + row["reserved_micro"]
            if self.cap_micro < committed:
                raise BudgetRefused(
                    f"{_usd(committed)} are spent or reserved already:"
                    f" the cap cannot be {_usd(self.cap_micro)}"
                )
            ledger.execute(
                "insert into budgets(job_id, cap_micro, reserved_micro, spent_micro)"
                " values (?,?,0,0)"
                " on conflict(job_id) do update set cap_micro = excluded.cap_micro",
                (job, self.cap_micro),
            )

    def reserve(self, micro: int) -> bool:
        """Set `micro` aside; False where it would pass the cap."""
        changed = self._ledger.run(
            "update budgets set reserved_micro = reserved_micro + ? where job_id = ?"
            " and reserved_micro + spent_micro + ? <= cap_micro",
            (micro, self.job, micro),
        )
        return changed == 1

    def reserve_within(self, micro: int) -> None:
        """The same inside the caller's transaction, which fails where it would pass the cap."""
        self._ledger.execute(
            "update budgets set reserved_micro = reserved_micro + ? where job_id = ?",
            (micro, self.job),
        )

    @property
    def room_micro(self) -> int:
        """What can still be reserved."""
        row = self._ledger.row("select * from budgets where job_id = ?", (self.job,))
        return self.cap_micro - (row["reserved_micro"] + row["spent_micro"] if row else 0)

    def settle(self, reserved: int, spent: int) -> None:
        """A call is over: its reservation goes, what it cost stays. In a transaction of its own."""
        with self._ledger.transaction():
            self.settle_within(reserved, spent)

    def settle_within(self, reserved: int, spent: int) -> None:
        """The same, inside the caller's transaction."""
        try:
            self._ledger.execute(
                "update budgets set reserved_micro = max(0, reserved_micro - ?),"
                " spent_micro = spent_micro + ? where job_id = ?",
                (reserved, spent, self.job),
            )
        except sqlite3.IntegrityError:  # dearer than possible: the cap is all the table can hold
            self.overrun_micro += spent - reserved
            self._ledger.execute(
                "update budgets set reserved_micro = max(0, reserved_micro - ?), spent_micro ="
                " cap_micro - max(0, reserved_micro - ?) where job_id = ?",
                (reserved, reserved, self.job),
            )

    def release_all(self, keep_micro: int = 0) -> None:
        """Reservations of calls that died with their process are free, all but `keep_micro`."""
        self._ledger.run(
            "update budgets set reserved_micro = min(reserved_micro, ?) where job_id = ?",
            (keep_micro, self.job),
        )

    @property
    def spent_usd(self) -> float:
        """What was spent so far, by all runs of this job."""
        row = self._ledger.row("select spent_micro from budgets where job_id = ?", (self.job,))
        return row["spent_micro"] / MICRO if row else 0.0


def most_micro(
    price: Price | None, *, prompt_bytes: int, messages: int, output_tokens: int | None
) -> int:
    """The most one call can cost. A token has at least one byte, so bytes bound the prompt.

    Raises BudgetRefused where price or limit are unknown: what cannot be reckoned is not sent.
    """
    if price is None:
        raise BudgetRefused("its price is unknown; write price: {input: ..., output: ...}")
    if price.per_hour is not None:
        return 0  # the machine is paid for by the hour, whatever it does
    if price.input is None or price.output is None:
        raise BudgetRefused("its price is unknown; write price: {input: ..., output: ...}")
    if output_tokens is None:
        raise BudgetRefused("no limit on the answer's tokens; set one")
    dearest = max(price.input, price.cache_write or 0.0)
    prompt_tokens = prompt_bytes + TOKENS_PER_MESSAGE * (messages + 1)
    return math.ceil(prompt_tokens * dearest + output_tokens * price.output)


def micro(cost_usd: float | None, otherwise: int) -> int:
    """A cost in whole micro-dollars, rounded up; `otherwise` where it is unknown."""
    return otherwise if cost_usd is None else math.ceil(cost_usd * MICRO - 1e-9)


def _usd(amount: int) -> str:
    return f"${amount / MICRO:.6f}".rstrip("0").rstrip(".")
