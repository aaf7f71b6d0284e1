"""A request sent twice because its first answer is late: two attempts, one answer.

    due        the first attempt was sent, nothing of its answer has come: a second one is sent,
               if the policies name somebody and the route's budget has room
    won        the first visible byte, or the first whole answer: the other attempt is aborted
    failed     while the other one runs, that one is waited for; when both have, `next_step` decides

At any moment `exchange.attempt` is one of the two and `race.rival` the other. An answer in doubt
counts like any other, but waits where the other attempt runs at the backend it would go to next.
"""

import time
from typing import TYPE_CHECKING, Final

from adapters.adapter import RequestRefused
from policies import hedging as rules
from policies.hedge_budget import HedgeBudget
from policies.route_match import RouteMatch
from policies.steps import HEDGE_LOST, is_awaited

from .asking import make_attempt
from .attempt import Attempt

if TYPE_CHECKING:
    from .exchange import Exchange

monotonic: Final = time.monotonic

NEVER_S: Final = float("inf")


class Race:
    """What the two attempts of one exchange need to know of each other."""

    __slots__ = ("due_s", "first", "match", "rival")

    def __init__(self, match: RouteMatch, due_s: float) -> None:
        self.match = match
        self.due_s = due_s
        """When the second attempt is to be sent."""
        self.rival: Attempt | None = None
        """Runs beside `exchange.attempt`."""
        self.first: Attempt | None = None
        """Has ended and waits for the other; not among the outcomes yet."""


def prepare(exchange: "Exchange", match: RouteMatch) -> None:
    """Before the first attempt: when would the second be due?"""
    decision, features = exchange.decision, exchange.features
    assert decision is not None
    assert decision.chosen is not None
    assert features is not None
    now_s = monotonic()
    _budget(exchange, match).request_sent(now_s, rules.cost_usd(decision))
    wait_s = rules.wait_s(match, decision.chosen, features, exchange.plane.world.learned)
    if wait_s is not None:
        exchange.race = Race(match, now_s + wait_s)


def send(exchange: "Exchange", race: Race, now_s: float) -> None:
    """The second attempt is due: send it, if there is anybody to send it to and room for it."""
    race.due_s = NEVER_S
    attempt, decision, features = exchange.attempt, exchange.decision, exchange.features
    assert decision is not None
    assert features is not None
    if attempt is None or attempt.is_ended or attempt.has_streamed:
        return
    plane = exchange.plane
    target = rules.whom(
        race.match,
        decision,
        features,
        plane.world,
        unaffordable=plane.watch.upstream(has_failed=True).unaffordable,
        time_left_s=exchange.deadline_s - now_s,
    )
    budget = _budget(exchange, race.match)
    if target is None or not budget.has_room(now_s, target.cost_usd):
        return
    try:
        race.rival = hedge = make_attempt(exchange, target.backend, "hedge")
    except (RequestRefused, ValueError):
        return  # this backend must not be asked this; the first one was
    budget.hedge_sent(now_s, target.cost_usd)
    exchange.attempts.append(hedge)
    plane.watch.asked(hedge)
    hedge.start(exchange.wiring.pools[target.backend])


def won(exchange: "Exchange", race: Race, attempt: Attempt) -> None:
    """The client sees the first byte of this answer; from now on it is the only one."""
    race.due_s = NEVER_S
    other = _other(exchange, race, attempt)
    exchange.attempt, race.rival = attempt, None
    if other is not None:
        _abort(exchange, other)


def ended(exchange: "Exchange", race: Race, attempt: Attempt) -> Attempt | None:
    """Take the end of an attempt; returns the one to go on with, None where the other may win."""
    race.due_s = NEVER_S
    if attempt.has_streamed:
        won(exchange, race, attempt)
        return attempt
    other = _other(exchange, race, attempt)
    if other is None:
        first, race.first = race.first, None
        return attempt if first is None else _in_order(exchange, first, attempt)
    race.rival = None
    if _waits(exchange, attempt, other):
        race.first, exchange.attempt = attempt, other
        return None
    exchange.attempt = attempt
    _abort(exchange, other)
    return _in_order(exchange, attempt, other)


def drop_rival(exchange: "Exchange", failure: str, text: str) -> None:
    """Nobody wants any answer: end the other attempt too, if there is one."""
    race = exchange.race
    if race is not None and race.rival is not None:
        rival, race.rival = race.rival, None
        rival.abort(failure, text)
        exchange.plane.attempt_ended(rival)


def _other(exchange: "Exchange", race: Race, attempt: Attempt) -> Attempt | None:
    return exchange.attempt if attempt is race.rival else race.rival


def _abort(exchange: "Exchange", attempt: Attempt) -> None:
    attempt.lose(HEDGE_LOST)
    exchange.plane.attempt_ended(attempt)


def _waits(exchange: "Exchange", attempt: Attempt, other: Attempt) -> bool:
    """Whether the other attempt is waited for although this one has ended."""
    if attempt.failure is not None:
        return True
    assert exchange.decision is not None
    route = exchange.decision.route
    if not is_awaited(route, attempt.outcome(), other.backend.name):
        return False
    if route.escalate is not None and route.escalate.within_s is not None:
        exchange.attempt_until_s = exchange.arrival_s + route.escalate.within_s
    return True


def _in_order(exchange: "Exchange", first: Attempt, second: Attempt) -> Attempt:
    """The one of the two that decides what is next; an answer goes before a failure."""
    if first.failure is None and second.failure is not None:
        first, second = second, first
    exchange.ended.append(first)
    return second


def _budget(exchange: "Exchange", match: RouteMatch) -> HedgeBudget:
    budgets, route = exchange.wiring.hedge_budgets, match.route
    found = budgets.get(route.name)
    if found is None:
        assert route.hedge is not None
        found = budgets[route.name] = HedgeBudget(route.hedge.max_extra_cost)
    return found
