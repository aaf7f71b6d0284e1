"""The time limits of one exchange: when the next is due, and what happens then.

deadline       of the whole request, shared by all attempts (`timeout.total`)
first_token    of one attempt, until its first byte: of an answer that is not streamed, all of it
idle           of one attempt, between two bytes; not while the client is the slow one
comment        silence in a stream is filled, since clients hang up on it
"""

from typing import TYPE_CHECKING, Final

from policies.words import Timeout

from . import hedging
from .answering import framed
from .attempt import Attempt
from .heads import RequestHead

if TYPE_CHECKING:
    from .exchange import Exchange

NEVER_S: Final = float("inf")
COMMENT_EVERY_S: Final = 15.0  # undici gives up after five minutes, some load balancers after one
DEADLINE_DIGITS_MAX: Final = 9
COMMENT: Final = b": keep-alive\n\n"


def allowed_s(head: RequestHead, timeout: Timeout) -> float:
    """The time for the whole request: the route's, which the client's header can only shorten."""
    asked = head.own.get(b"deadline-ms")
    if asked is not None and asked.isdigit() and len(asked) <= DEADLINE_DIGITS_MAX:
        return min(timeout.total_s, int(asked) / 1000)
    return timeout.total_s


def next_due_s(exchange: "Exchange") -> float:
    """The nearest moment at which one of the limits is due."""
    due_s = exchange.deadline_s
    attempt = exchange.attempt
    # How long a client may not read is the connection's to say.
    if attempt is not None and not attempt.is_ended and not exchange.is_paused:
        due_s = min(due_s, _attempt_due_s(exchange, attempt))
    if exchange.race is not None:
        due_s = min(due_s, _race_due_s(exchange, exchange.race))
    if exchange.head_sent_s is not None:
        due_s = min(due_s, exchange.last_write_s + COMMENT_EVERY_S)
    return due_s


def act_on_time(exchange: "Exchange", now_s: float) -> None:
    """Do what the first limit that is over asks for; nothing where none is."""
    if now_s >= exchange.deadline_s:
        _out_of_time(exchange)
    elif exchange.race is not None and now_s >= exchange.race.due_s:
        hedging.send(exchange, exchange.race, now_s)
    elif (attempt := _late_one(exchange, now_s)) is not None:
        which = "first_token" if attempt.first_byte_s is None else "idle"
        attempt.is_innocent = now_s >= exchange.attempt_until_s
        attempt.abort("timeout", f"no answer within timeout.{which}")
        exchange.attempt_ended(attempt)
    elif exchange.head_sent_s is not None and now_s >= exchange.last_write_s + COMMENT_EVERY_S:
        _comment(exchange, now_s)


def _late_one(exchange: "Exchange", now_s: float) -> Attempt | None:
    if not exchange.is_paused:
        for attempt in _running(exchange):
            if now_s >= _attempt_due_s(exchange, attempt):
                return attempt
    return None


def _running(exchange: "Exchange") -> list[Attempt]:
    """One attempt, or two at once, or none while a retry waits for its moment."""
    rival = None if exchange.race is None else exchange.race.rival
    both = (exchange.attempt, rival)
    return [attempt for attempt in both if attempt is not None and not attempt.is_ended]


def _race_due_s(exchange: "Exchange", race: hedging.Race) -> float:
    if race.rival is None or exchange.is_paused:
        return race.due_s
    return _attempt_due_s(exchange, race.rival)


def _attempt_due_s(exchange: "Exchange", attempt: Attempt) -> float:
    assert exchange.decision is not None
    timeout = exchange.decision.route.timeout
    if attempt.first_byte_s is None:
        due_s = attempt.started_s + timeout.first_token_s
    else:
        due_s = attempt.last_byte_s + timeout.idle_s
    return min(due_s, exchange.attempt_until_s)


def _out_of_time(exchange: "Exchange") -> None:
    """The deadline of the whole request: an earlier whole answer is better than none."""
    running = _running(exchange)
    for attempt in running:
        attempt.is_innocent = _is_own_doing(exchange, attempt)
        attempt.abort("timeout", "no answer within timeout.total")
        exchange.attempt_ended(attempt)
    if not running and exchange.ended:
        exchange.give_up(exchange.ended[-1])


def _is_own_doing(exchange: "Exchange", attempt: Attempt) -> bool:
    """The time was over for no fault of the backend: a long answer, or a short patience."""
    assert exchange.decision is not None
    timeout = exchange.decision.route.timeout
    is_shortened = allowed_s(exchange.head, timeout) < timeout.total_s
    return is_shortened or attempt.first_byte_s is not None


def _comment(exchange: "Exchange", now_s: float) -> None:
    if exchange.attempt is not None and exchange.attempt.is_between_events:
        exchange.tape.add(COMMENT)
        exchange.client.write(framed(exchange, COMMENT))
    exchange.last_write_s = now_s
