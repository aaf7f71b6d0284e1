"""What happens after an attempt: a pure function of the decision, the outcomes and the time.

    a whole answer   accepted, or escalated where its confidence is below `accept`
    a hopeless one   aborted before its end since it would not be accepted: escalated
    a failure        the same backend again, then `on_failure` in order, then given up
    too long         a backend with a larger context window: of `on_failure`, then of `candidates`
    filtered         `on_failure` in order
    rate limited     `on_failure` at once; the same backend when it said that it may be asked
    an outage        as any failure; a refused connection is tried twice and no more

At most two retries a request and three attempts in all, whatever their kind: clients retry
twice themselves, and three times three calls is the most a backend should see. Nothing follows
once a byte of an answer has reached the client, nor on a refusal that is the client's to mend
(400, 401, 403, 404, 422 and their like) unless its kind says that another backend may take it.
An escalation that fails leaves the earlier answer. A context window of unknown size may be the
larger one where it stands in `on_failure`; among candidates it must be known to be.

A backend that is out of order is asked only where the whole route is (the last one is never
given up), and one that fails only while the retry budget lasts: the caller says which these are.

Waiting before a retry grows from 25 ms to 250 ms with full jitter, drawn from the decision's
seed so that the same inputs give the same step; a `retry-after` is waited for where it fits
the time left, else the next backend is asked at once. A connection refused twice is not tried a
third time: who has no backend is told so within 50 ms.
"""

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from .decision import Decision
from .step import ALL_WELL, Accept, Ask, GiveUp, Outcome, Step, Upstream
from .words import Escalate, Route

ATTEMPTS_MAX: Final = 3
RETRIES_MAX: Final = 2
HOPELESS: Final = "hopeless"
"""The failure of an attempt that was aborted because its answer would not have been accepted."""
HEDGE_LOST: Final = "hedge_lost"
"""The failure of an attempt that was aborted because the other answer of two was first."""
ESCALATED: Final = ("escalation", "agreement")
"""An answer that was asked for to compare with becomes the next one where the two disagree."""
NO_CONTEXTS: Final[Mapping[str, int]] = {}
BACKOFF_FIRST_S: Final = 0.025
BACKOFF_GROWTH: Final = 4.0
BACKOFF_MAX_S: Final = 0.25
RETRY_AFTER_SPREAD: Final = 0.5
"""Up to half as long again, so that clients told the same do not come back together."""
RETRY_AFTER_MAX_S: Final = 300.0  # a longer wait is a statement, not a plan

RETRYABLE_CLIENT_STATUSES: Final = frozenset({408, 409, 425, 429})
"""4xx that another attempt may cure; all others are passed on as they are."""
NO_SECOND_TRY: Final = frozenset({"timeout", "dns", "connect", "tls", "full", "not_ready"})
"""Failures that the next moment does not cure: with another backend at hand it is asked at once."""


def next_step(
    decision: Decision,
    outcomes: Sequence[Outcome],
    *,
    time_left_s: float,
    elapsed_s: float,
    upstream: Upstream = ALL_WELL,
    contexts: Mapping[str, int] = NO_CONTEXTS,
) -> Step:
    """The step after the last of `outcomes`, which are in order and at least one.

    `time_left_s` until the request's deadline, `elapsed_s` since its arrival. `contexts` are the
    sizes of context windows in tokens, where they are known.
    """
    last = outcomes[-1]
    unavailable = out_of_order(decision.route, upstream.unavailable)
    left_s = _escalation_left_s(
        decision.route.escalate, time_left_s=time_left_s, elapsed_s=elapsed_s
    )
    if last.failure is None:
        return _after_answer(decision, outcomes, left_s, unavailable)
    best = _best_answer(outcomes)
    if best is not None:
        return Accept(best, f"{last.kind} to {last.backend} failed ({_fault(last)})")
    usable = Upstream(unavailable, upstream.unaffordable)
    step = _after_hopeless(decision, outcomes, left_s, unavailable)
    if step is None and not last.is_visible:
        step = _after_refusal(decision, outcomes, time_left_s, usable, contexts)
    return step or _after_failure(decision, outcomes, time_left_s, usable)


def is_awaited(route: Route, answer: Outcome, backend: str) -> bool:
    """Whether an answer in doubt waits for `backend`, asked already: it would be asked next."""
    is_doubted = _doubt(route, answer) is not None
    return is_doubted and _target(route.escalate, (answer,), ()) == backend


def out_of_order(route: Route, unavailable: Mapping[str, str]) -> Mapping[str, str]:
    """The backends this route leaves alone: none where it would be left with none."""
    if not unavailable:
        return unavailable
    names = (*route.candidates, *route.on_failure)
    return unavailable if any(name not in unavailable for name in names) else {}


# -- after a whole answer ------------------------------------------------------------------------


def _after_answer(
    decision: Decision,
    outcomes: Sequence[Outcome],
    left_s: float,
    unavailable: Mapping[str, str],
) -> Step:
    escalate = decision.route.escalate
    index = len(outcomes) - 1
    doubt = _doubt(decision.route, outcomes[-1])
    if doubt is None:
        return Accept(index)
    if outcomes[-1].is_visible:
        return Accept(index, f"{doubt}, but already sent")
    best = _best_answer(outcomes)
    assert best is not None  # the last one is whole
    target = _target(escalate, outcomes, unavailable)
    if target is None:
        return Accept(best, f"{doubt}, nobody left to ask")
    if left_s <= _expected_s(decision, target):
        return Accept(best, f"{doubt}, no time to ask {target}")
    return Ask(target, "escalation", 0.0, doubt, left_s)


def _after_hopeless(
    decision: Decision,
    outcomes: Sequence[Outcome],
    left_s: float,
    unavailable: Mapping[str, str],
) -> Ask | None:
    """On to who would have been asked after the whole answer, if there was one in doubt."""
    hopeless = next((one for one in outcomes if one.failure == HOPELESS), None)
    if hopeless is None or any(one.is_visible or _is_final(one) for one in outcomes):
        return None
    target = _target(decision.route.escalate, outcomes, unavailable)
    if target is None or left_s <= _expected_s(decision, target):
        return None
    doubt = _doubt(decision.route, hopeless) or HOPELESS
    return Ask(target, "escalation", 0.0, f"{doubt}, aborted", left_s)


def _doubt(route: Route, outcome: Outcome) -> str | None:
    """Why the answer is not trusted; None where it is, or where nothing is known of it.

    A promise is one against its reference, whose own answers are as good as promised; it was
    proved with answers of unknown confidence going on to be asked again.
    """
    rule, limit = route.confidence, route.require.error
    if rule is None or isinstance(rule.accept, str):
        return None
    if limit is not None and outcome.backend == limit.reference:
        return None
    confidence = _known(outcome.confidence)
    if confidence is None:
        return None if rule.model is None else "confidence unknown"
    if confidence >= rule.accept:
        return None
    return f"confidence {confidence:.3g} below {rule.accept:g}"


def _known(confidence: float | None) -> float | None:
    """What is no number is not known; it is no low confidence either."""
    return None if confidence is None or confidence != confidence else confidence


def _target(
    escalate: Escalate | None, outcomes: Sequence[Outcome], unavailable: Collection[str]
) -> str | None:
    """The next backend of `escalate.to` that was not asked yet, within `max_steps`."""
    if escalate is None or len(outcomes) >= ATTEMPTS_MAX:
        return None
    if sum(outcome.kind in ESCALATED for outcome in outcomes) >= escalate.max_steps:
        return None
    passed_over = {outcome.backend for outcome in outcomes if outcome.failure != HEDGE_LOST}
    passed_over.update(unavailable)
    return next((name for name in escalate.to if name not in passed_over), None)


def _escalation_left_s(escalate: Escalate | None, *, time_left_s: float, elapsed_s: float) -> float:
    if escalate is None or escalate.within_s is None:
        return time_left_s
    return min(time_left_s, escalate.within_s - elapsed_s)


def _expected_s(decision: Decision, backend: str) -> float:
    """The median time of a backend as the decision predicted it; 0 where it is unknown."""
    for candidate in decision.candidates:
        if candidate.backend == backend and candidate.latency_p50_s is not None:
            return candidate.latency_p50_s
    return 0.0


def _best_answer(outcomes: Sequence[Outcome]) -> int | None:
    """The whole answer trusted most; the later one of equals."""
    whole = [index for index, outcome in enumerate(outcomes) if outcome.failure is None]
    return max(
        whole, key=lambda index: (_known(outcomes[index].confidence) or 0.0, index), default=None
    )


# -- after a failure -----------------------------------------------------------------------------


def _after_refusal(
    decision: Decision,
    outcomes: Sequence[Outcome],
    time_left_s: float,
    upstream: Upstream,
    contexts: Mapping[str, int],
) -> Ask | None:
    """Who may take what a backend would not; None where nobody may, or nothing was refused."""
    refused = outcomes[_deciding(outcomes)]
    if refused.refusal is None or refused.is_visible or _is_used_up(outcomes, time_left_s):
        return None
    passed_over = {outcome.backend for outcome in outcomes}
    passed_over.update(upstream.unavailable, upstream.unaffordable)
    if refused.refusal == "context_window":
        target = _larger(decision.route, outcomes, contexts, passed_over)
    else:
        target = next((n for n in decision.route.on_failure if n not in passed_over), None)
    if target is None:
        return None
    reason = f"{refused.backend} refused ({refused.refusal.replace('_', ' ')})"
    return Ask(target, "fallback", 0.0, reason, time_left_s)


def _larger(
    route: Route,
    outcomes: Sequence[Outcome],
    contexts: Mapping[str, int],
    passed_over: Collection[str],
) -> str | None:
    """A backend whose context window is larger than every one that was too small."""
    too_small = [contexts.get(one.backend) for one in outcomes if one.refusal == "context_window"]
    known = [size for size in too_small if size is not None]
    names = [n for n in (*route.on_failure, *route.candidates) if n not in passed_over]
    if len(known) == len(too_small):
        for name in names:
            if contexts.get(name, 0) > max(known):
                return name
    for name in names:
        is_unknown = name not in contexts or not known
        if is_unknown and name in route.on_failure:
            return name
    return None


def _after_failure(
    decision: Decision, outcomes: Sequence[Outcome], time_left_s: float, upstream: Upstream
) -> Step:
    index, last = _deciding(outcomes), outcomes[-1]
    barrier = _barrier(outcomes, outcomes[index], time_left_s)
    if barrier is not None:
        return GiveUp(index, barrier)
    fallback = _fallback(decision, outcomes, upstream)
    delay_s = None
    if _may_be_asked_again(last, upstream):
        delay_s = _retry_delay_s(decision, outcomes, time_left_s)
    if delay_s is not None and (fallback is None or _is_worth_a_second_try(outcomes)):
        reason = f"{last.backend} failed ({_fault(last)}), again"
        return Ask(last.backend, "retry", delay_s, reason, time_left_s - delay_s)
    if fallback is not None:
        reason = f"{last.backend} failed ({_fault(last)})"
        return Ask(fallback, "fallback", 0.0, reason, time_left_s)
    is_broke = bool(upstream.unaffordable)
    left = "the retry budget is spent" if is_broke else "nobody left to ask"
    return GiveUp(index, f"{_fault(last)}, {left}", is_broke)


def _deciding(outcomes: Sequence[Outcome]) -> int:
    """The failure that counts: the last, but of two attempts at once the one that is final."""
    last = len(outcomes) - 1
    return next((index for index in range(last) if _is_final(outcomes[index])), last)


def _barrier(outcomes: Sequence[Outcome], last: Outcome, time_left_s: float) -> str | None:
    """Why nothing may follow a failure."""
    if last.is_visible:
        return "part of the answer has reached the client"
    if last.failure == "client_gone":
        return "the client has gone"
    if _is_final(last):
        return f"{_fault(last)} is passed on"
    return _is_used_up(outcomes, time_left_s)


def _is_used_up(outcomes: Sequence[Outcome], time_left_s: float) -> str | None:
    """What of a request is spent, whatever has failed."""
    if len(outcomes) >= ATTEMPTS_MAX:
        return f"{ATTEMPTS_MAX} attempts made"
    if sum(outcome.kind in ("retry", "fallback") for outcome in outcomes) >= RETRIES_MAX:
        return f"{RETRIES_MAX} retries made"
    return "no time left" if time_left_s <= 0 else None


def _is_final(outcome: Outcome) -> bool:
    """A failure that no attempt may follow, of this backend or another."""
    status = outcome.http_status
    if outcome.failure != "status" or status is None:
        return not outcome.retryable
    return 400 <= status < 500 and status not in RETRYABLE_CLIENT_STATUSES


def _fallback(decision: Decision, outcomes: Sequence[Outcome], upstream: Upstream) -> str | None:
    passed_over = {outcome.backend for outcome in outcomes}
    passed_over.update(upstream.unavailable, upstream.unaffordable)
    found = next((name for name in decision.route.on_failure if name not in passed_over), None)
    again = None if found is not None else _given_up_too_soon(outcomes)
    is_usable = again not in upstream.unavailable and again not in upstream.unaffordable
    return again if again is not None and is_usable else found


def _given_up_too_soon(outcomes: Sequence[Outcome]) -> str | None:
    """Whose answer was aborted for a better one that then failed: in doubt is better than none."""
    for outcome in outcomes:
        if outcome.failure == HOPELESS:
            asked = sum(other.backend == outcome.backend for other in outcomes)
            return outcome.backend if asked == 1 else None
    return None


def _may_be_asked_again(last: Outcome, upstream: Upstream) -> bool:
    """Whether the backend that failed last may be next; one that said when it may be asked can."""
    if last.backend in upstream.unaffordable:
        return False
    return last.retry_after_s is not None or last.backend not in upstream.unavailable


def _retry_delay_s(
    decision: Decision, outcomes: Sequence[Outcome], time_left_s: float
) -> float | None:
    """How long to wait before asking the same backend again; None where that is ruled out."""
    last, attempt = outcomes[-1], len(outcomes)
    if not last.retryable or last.failure in ("timeout", "full"):
        return None
    if last.failure == "connect" and attempt > 1 and outcomes[-2].failure == "connect":
        return None
    chance = _chance(decision.seed, attempt)
    if last.retry_after_s is None:
        ceiling_s = BACKOFF_FIRST_S * BACKOFF_GROWTH ** (attempt - 1)
        delay_s = chance * min(BACKOFF_MAX_S, ceiling_s)
    elif last.retry_after_s <= RETRY_AFTER_MAX_S:
        delay_s = last.retry_after_s * (1.0 + RETRY_AFTER_SPREAD * chance)
    else:
        return None
    return delay_s if delay_s < time_left_s else None


def _is_worth_a_second_try(outcomes: Sequence[Outcome]) -> bool:
    """Whether to ask the same backend once more although another one is at hand."""
    last = outcomes[-1]
    if last.failure in NO_SECOND_TRY or last.http_status == 429 or last.retry_after_s is not None:
        return False
    is_first_failure = all(outcome.backend != last.backend for outcome in outcomes[:-1])
    return is_first_failure and len(outcomes) + 1 < ATTEMPTS_MAX


def _chance(seed: int, attempt: int) -> float:
    """A number from 0 to 1 that only the seed and the attempt decide."""
    drawn = blake2b(b"%d:%d" % (seed, attempt), digest_size=4).digest()
    return int.from_bytes(drawn, "big") / 0xFFFFFFFF


def _fault(outcome: Outcome) -> str:
    """`status 503`, `timeout`, ..."""
    if outcome.failure == "status" and outcome.http_status is not None:
        return f"status {outcome.http_status}"
    return outcome.failure or "an answer"
