"""Noisy pieces of calls about loans, made here, with what is true in them.

Somebody asks what pays a loan off, what is in its escrow and whether there is a late fee. The
agent hesitates, takes amounts back, names others (principal, per diem, last month's payoff),
spells some out, and sometimes does not know one: then it is null. Whoever reads must tell which
amount was meant. They are short, since a model of 270 million parameters on two cores reads 600
tokens a second. The same seed gives the same calls.
"""

import json
import random
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

INSTRUCTION: Final = (
    "Read the call. Answer with JSON: payoff, escrow and fee, in dollars, or null where the call"
    " does not say."
)
_ONES: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS: Final = (
    "zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
)  # fmt: skip
_FILLERS: Final = ("uh", "um", "you know", "let me see", "one second", "hm")
EXAMPLES: Final = 3
"""Solved calls that the untrained model is shown."""
_NAMES: Final = ("Dana", "Miguel", "Priya", "Sam", "Olga", "Chen", "Fatima", "Liam")
_IN_WORDS: Final = 0.08
"""Share of hard amounts that are spelled out: where a small model errs, and can know it."""


class Call(NamedTuple):
    """One call and what is true in it. Dollars; None where it does not say."""

    text: str
    payoff: float | None
    escrow: float | None
    fee: float | None

    @property
    def answer(self) -> dict[str, float | None]:
        """As it is asked for."""
        return {"payoff": self.payoff, "escrow": self.escrow, "fee": self.fee}

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


def as_line(call: Call) -> str:
    """A line of what the untrained model is asked, who ends no answer by himself."""
    request = {"messages": call.messages, "stop": ["\n"], "max_tokens": 64}
    return json.dumps({"request": request, "expected": call.answer}) + "\n"


def few_shot(made: Sequence[Call]) -> str:
    """A chat template that shows the untrained model solved calls."""
    solved = "".join(
        f"Question: {call.text}\nAnswer: {json.dumps(call.answer)}\n" for call in made[:EXAMPLES]
    )
    return (
        f"{INSTRUCTION}\n{solved}"
        "{% for message in messages %}{% if message.role == 'user' %}"
        "Question: {{ message.content | trim }}\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}Answer:{% endif %}"
    )


def _call(draw: random.Random, number: int, noise: float) -> Call:
    payoff = round(draw.uniform(800, 480_000), 2)
    escrow = round(draw.uniform(20, 9_000), 2) if draw.random() > 0.15 else None
    fee = round(draw.uniform(15, 95), 2) if draw.random() > 0.6 else None
    said = [_said_payoff(draw, payoff, noise), _said_escrow(draw, escrow, noise)]
    if fee is not None or draw.random() < noise:
        said.append(_said_fee(draw, fee))
    if draw.random() < noise:
        said.append(_distraction(draw))
    draw.shuffle(said)
    opening = f"Caller: {draw.choice(_NAMES)} here, case {number}, {draw.choice(_ASKED)}?"
    return Call("\n".join([opening, "Agent: " + " ".join(said)]), payoff, escrow, fee)


_ASKED: Final = (
    "what pays off my loan", "I need the payoff", "what do I owe in all", "what's the payoff",
)  # fmt: skip


def _said_payoff(draw: random.Random, amount: float, noise: float) -> str:
    if draw.random() >= noise:
        return draw.choice((f"The payoff is {_figures(amount)}.",
                            f"{_figures(amount)} pays it off."))  # fmt: skip
    if draw.random() < _IN_WORDS:
        return f"To pay it off, {_filler(draw)}, that would be {in_words(amount)}."
    wrong = round(amount + draw.choice((-1, 1)) * draw.choice((10, 100, 500, 90)), 2)
    return draw.choice(
        (
            f"Payoff {_figures(wrong)}, {_filler(draw)}, no, sorry, {_figures(amount)}.",
            f"Principal is {_figures(wrong)}, the payoff {_figures(amount)}.",
            f"It's {_figures(amount)} to pay it off; {_figures(wrong)} was last month.",
            f"I had {_figures(wrong)} as the payoff last month, now {_figures(amount)}.",
        )
    )


def _said_escrow(draw: random.Random, amount: float | None, noise: float) -> str:
    if amount is None:
        return draw.choice(("I can't see the escrow.", "Nothing in here about escrow, sorry."))
    if draw.random() >= noise:
        return draw.choice((f"Escrow is {_figures(amount)}.",
                            f"There's {_figures(amount)} in escrow."))  # fmt: skip
    if draw.random() < _IN_WORDS / 2:
        return f"In escrow, {_filler(draw)}, {in_words(amount)}."
    other = round(amount + draw.choice((50, 250, 1200)), 2)
    return draw.choice(
        (
            f"Escrow was {_figures(other)} in January, it's {_figures(amount)} now.",
            f"And in escrow, {_filler(draw)}, {_figures(amount)}, down from {_figures(other)}.",
            f"Escrow {_figures(other)}... wait, that's the other loan. {_figures(amount)}.",
        )
    )


def _said_fee(draw: random.Random, amount: float | None) -> str:
    if amount is None:
        return draw.choice(("No late fee.", f"The {_figures(35.0)} late fee was waived."))
    return draw.choice(
        (
            f"There's a late fee of {_figures(amount)}.",
            f"Late fee {_figures(amount)}, sorry.",
        )
    )


def _distraction(draw: random.Random) -> str:
    amount = round(draw.uniform(5, 900), 2)
    return draw.choice(
        (
            f"Per diem is {_figures(round(amount / 20, 2))}.",
            f"We got your {_figures(amount)} last week.",
            f"Your next payment would be {_figures(amount + 900)}.",
            "Sorry, you broke up.",
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
