"""Noisy transcripts of calls about loans, made here, with what is true in them.

Somebody asks what a loan's payoff and escrow balance are, and until when that holds. The agent
hesitates, corrects himself, spells numbers out, names other amounts (late fee, per diem, last
year's balance), and sometimes does not know one of them: then it is null. Whoever reads must tell
which amount was meant and which was taken back. The same seed gives the same calls.
"""

import json
import random
from collections.abc import Iterator
from typing import Final, NamedTuple

INSTRUCTION: Final = (
    "Read the call. Answer with JSON: payoff_amount, escrow_balance (dollars, or null where the"
    " call does not say) and good_through (YYYY-MM-DD, or null)."
)
_ONES: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS: Final = (
    "zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
)  # fmt: skip
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_FILLERS: Final = ("uh", "um", "you know", "let me see", "one second", "so")
_NAMES: Final = ("Dana", "Miguel", "Priya", "Sam", "Olga", "Chen", "Fatima", "Liam")


class Call(NamedTuple):
    """One transcript and what is true in it."""

    text: str
    payoff_amount: float | None
    escrow_balance: float | None
    good_through: str | None

    @property
    def answer(self) -> dict[str, float | str | None]:
        """As it is asked for."""
        return {
            "payoff_amount": self.payoff_amount,
            "escrow_balance": self.escrow_balance,
            "good_through": self.good_through,
        }

    @property
    def messages(self) -> list[dict[str, str]]:
        """What is asked of a model."""
        return [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": self.text},
        ]


def calls(count: int, *, seed: int = 0, noise: float = 0.5) -> Iterator[Call]:
    """`count` calls; `noise` is the share of statements that are hard to read."""
    draw = random.Random(f"calls {seed}")
    for number in range(count):
        yield _call(draw, number, noise)


def as_question(call: Call) -> str:
    """A line of a labelled file."""
    return json.dumps({"messages": call.messages, "expected": call.answer})


def as_known_answer(call: Call) -> str:
    """A line of the answers a simulated backend knows."""
    return json.dumps({"prompt": call.text, "answer": call.answer})


def _call(draw: random.Random, number: int, noise: float) -> Call:
    payoff = round(draw.uniform(800, 480_000), 2)
    escrow = round(draw.uniform(0, 9_000), 2) if draw.random() > 0.15 else None
    month, day = draw.randint(1, 12), draw.randint(1, 28)
    date = f"2026-{month:02d}-{day:02d}" if draw.random() > 0.1 else None
    caller, agent = draw.sample(_NAMES, 2)
    lines = [
        f"Agent: Servicing, this is {agent}, call {number}.",
        f"Caller: Hi, {caller} here. What is the payoff on loan {draw.randint(10**8, 10**9)}?",
        f"Agent: {_said_payoff(draw, payoff, noise)}",
    ]
    others = [_distraction(draw) for _ in range(draw.randint(0, 2))]
    escrow_line = [f"Agent: {_said_escrow(draw, escrow, noise)}"]
    date_line = [f"Agent: {_said_date(draw, month, day, noise)}"] if date else []
    middle = [*escrow_line, *date_line, *others]
    draw.shuffle(middle)
    return Call("\n".join([*lines, *middle, "Caller: Thanks, bye."]), payoff, escrow, date)


def _said_payoff(draw: random.Random, amount: float, noise: float) -> str:
    if draw.random() >= noise:
        return f"The payoff is {_figures(amount)}."
    wrong = round(amount + draw.choice((-1, 1)) * draw.choice((10, 100, 1000, 90)), 2)
    return draw.choice(
        (
            f"It's {_figures(wrong)}, {_filler(draw)}, no, sorry, {_figures(amount)} pays it off.",
            f"To pay it off today, {_filler(draw)}, that would be {in_words(amount)}.",
            f"Principal is {_figures(wrong)}, but with interest the payoff comes to"
            f" {_figures(amount)}.",
            f"I have {_figures(wrong)} from last month; as of now it's {_figures(amount)}.",
        )
    )


def _said_escrow(draw: random.Random, amount: float | None, noise: float) -> str:
    if amount is None:
        return draw.choice(
            ("I can't see the escrow from here.", "There is nothing in here about escrow, sorry.")
        )
    if draw.random() >= noise:
        return f"Escrow balance is {_figures(amount)}."
    other = round(amount + draw.choice((50, 250, 1200)), 2)
    return draw.choice(
        (
            f"Escrow was {_figures(other)} in January, it's {_figures(amount)} now.",
            f"And in escrow there's, {_filler(draw)}, {in_words(amount)}.",
            f"Escrow {_figures(other)}... wait, that's the other loan. {_figures(amount)}.",
        )
    )


def _said_date(draw: random.Random, month: int, day: int, noise: float) -> str:
    name = _MONTHS[month - 1]
    if draw.random() >= noise:
        return f"That is good through {name} {day}, 2026."
    wrong = day - 1 if day > 1 else day + 1
    return draw.choice(
        (
            f"Good through the {wrong}th, no, {name} {day}th.",
            f"If we get it by {month}/{day}/2026 that figure holds.",
            f"It holds until {day} {name[:3]} this year, 2026.",
        )
    )


def _distraction(draw: random.Random) -> str:
    amount = round(draw.uniform(5, 900), 2)
    return draw.choice(
        (
            f"Agent: There's a late fee of {_figures(amount)} on there already.",
            f"Agent: Per diem is {_figures(round(amount / 20, 2))}.",
            f"Caller: I paid {_figures(amount)} last week, did you get that?",
            "Caller: Sorry, you broke up. Go on.",
            f"Agent: Your next payment would have been {_figures(amount + 900)}.",
        )
    )


def _filler(draw: random.Random) -> str:
    return draw.choice(_FILLERS)


def _figures(amount: float) -> str:
    return f"${amount:,.2f}"


def in_words(amount: float) -> str:
    """`1250.10` -> `one thousand two hundred fifty dollars and ten cents`."""
    dollars, cents = divmod(round(amount * 100), 100)
    return f"{_whole(dollars)} dollars and {_whole(cents)} cents"


def _whole(number: int) -> str:
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    for unit, name in ((1000, "thousand"), (100, "hundred")):
        if number >= unit:
            many, rest = divmod(number, unit)
            return f"{_whole(many)} {name}" + (f" {_whole(rest)}" if rest else "")
    raise AssertionError(number)
