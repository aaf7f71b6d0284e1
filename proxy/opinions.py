"""What others say of an answer before it is trusted: a second answer, a judge.

    agreement   the same request goes to `agree_with` beside the first attempt; the answers'
                values are compared when both are whole. Where an answer in doubt would be
                escalated to that backend, or a failure would fall back to it, its answer is
                there already, or on its way
    judge       `judge` is asked about an answer whose confidence is not decided by all else

Both are attempts of their own kind, recorded and paid for, through the same pools and under the
same breakers as all others. They are waited for ASIDE_S at most and never longer than half of
what is left, so that there is time to escalate; one that is late, fails or says nothing is
unknown. Nobody waits for what can change nothing: a failed check, an agreement.

Streams that are shown as they come have no use for either, so nobody is asked then.
"""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

from adapters.adapter import RequestRefused
from policies.confidence import Confidence, undecided_by
from policies.judge_question import read_verdict
from policies.step import Ask
from policies.steps import ESCALATED
from policies.words import ConfidenceRule

from .asking import make_attempt, make_judge
from .attempt import Attempt
from .judging import judge_answer, would_escalate

if TYPE_CHECKING:
    from .exchange import Exchange

ASIDE_S: Final = 10.0
"""A client waits for an answer that is there already: longer than this it is taken as it is."""
SHARE_OF_TIME_LEFT: Final = 0.5


def begin(exchange: "Exchange") -> None:
    """Behind the first attempt: ask the second backend, if the route wants one."""
    decision, features, endpoint = exchange.decision, exchange.features, exchange.endpoint
    assert decision is not None
    assert features is not None
    assert endpoint is not None
    rule = decision.route.confidence
    if rule is None or (rule.agree_with is None and rule.judge is None):
        return
    if not endpoint.is_judged or (features.is_stream and decision.route.hold != "all"):
        return
    exchange.asides = opinions = Opinions(exchange, rule)
    if features.previous_response_id is None:  # else only its maker can answer
        opinions.ask_second()


class Opinions:
    """Of one exchange."""

    def __init__(self, exchange: "Exchange", rule: ConfidenceRule) -> None:
        self._exchange = exchange
        self._rule = rule
        self._second: Attempt | None = None
        self._judge: Attempt | None = None
        self._about: Attempt | None = None
        """The answer that waits."""
        self._is_judged = False
        """It was, or the judge was asked."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_hurried = False
        """Who is late now may not be to blame: there was little time."""

    def __repr__(self) -> str:
        return f"<Opinions second={self._second!r} judge={self._judge!r}>"

    def ask_second(self) -> None:
        """Beside the attempts there are; not one of their backends, nor one out of order."""
        exchange, name = self._exchange, self._rule.agree_with
        if name is None or name in exchange.plane.world.unavailable:
            return
        if any(attempt.backend.name == name for attempt in exchange.attempts):
            return
        try:
            self._second = make_attempt(exchange, name, "agreement", owner=self)
        except (RequestRefused, ValueError):
            return  # this backend must not be asked this: nothing to compare with
        self._send(self._second)

    def awaits(self, attempt: Attempt) -> bool:
        """Whether an answer waits for what others say; `go_on` is then called later."""
        if attempt.failure is not None:
            return False
        self._about, self._judge, self._is_judged = attempt, None, False
        if self._is_settled(attempt):
            return False
        self._set_timer()
        return True

    def hands_over(self, step: Ask) -> bool:
        """Whether the answer that a step would ask for is there, or on its way."""
        second = self._second
        if second is None or step.kind == "retry" or second.backend.name != step.backend:
            return False
        if second.is_ended and second.failure is not None:
            return False
        exchange, self._second = self._exchange, None
        if step.kind == "fallback":
            second.kind = "fallback"  # it was to be compared, and is needed instead
        exchange.attempt = second
        second.hand_to(exchange)
        if second.is_ended and not self.awaits(second):
            exchange.go_on(second)
        return True

    def close(self, status: str) -> None:
        """The exchange has ended so: nobody's word counts any more."""
        failure = "client_gone" if status == "client_gone" else "not_needed"
        self._exchange.asides = None
        if self._timer is not None:
            self._timer.cancel()
        self._about = None
        for attempt in (self._second, self._judge):
            if attempt is not None and not attempt.is_ended:
                self._abort(attempt, failure, is_innocent=True)

    # -- Owner of the attempts ----------------------------------------------------------------

    def attempt_streams(self, attempt: Attempt, data: bytes) -> None:
        """Too large to be held is too large to be compared."""
        self._abort(attempt, "oversize", is_innocent=True)
        self._go_on()

    def attempt_ended(self, attempt: Attempt) -> None:
        """One of the two has answered, or failed."""
        try:
            self._exchange.plane.attempt_ended(attempt)
            self._go_on()
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self._exchange.plane.crashed(self._exchange, error)

    # -- inside -------------------------------------------------------------------------------

    def _go_on(self) -> None:
        attempt = self._about
        if attempt is not None and self._is_settled(attempt):
            self._exchange.go_on(attempt)

    def _is_settled(self, attempt: Attempt) -> bool:
        """Weigh the answer by all that is known; False while somebody is worth waiting for."""
        found = self._weigh(attempt)
        route = self._exchange.decision.route if self._exchange.decision is not None else None
        assert route is not None
        for aside in undecided_by(route, found):
            if aside == "agreement" and self._is_second_awaited(attempt):
                return False
            if aside == "judge" and self._is_judge_awaited(attempt):
                return False
        self._about = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return True

    def _weigh(self, attempt: Attempt) -> Confidence:
        """With the other answer that it agrees with, where there is one."""
        said = None
        if self._judge is not None and self._judge.is_ended and self._judge.failure is None:
            said = read_verdict(self._judge.reader.text)
        found = judge_answer(self._exchange, attempt, judged=said)
        for other in self._others(attempt):
            found = judge_answer(self._exchange, attempt, other=other, judged=said)
            if found.signals.get("agreement") is True:
                break
        return found

    def _others(self, attempt: Attempt) -> list[Attempt]:
        """Whole answers of other backends."""
        if self._rule.agree_with is None:
            return []
        known = [*self._exchange.ended, self._second]
        return [
            one
            for one in known
            if one is not None
            and one.is_ended
            and one.failure is None
            and one.backend.name != attempt.backend.name
        ]

    def _is_second_awaited(self, attempt: Attempt) -> bool:
        second = self._second
        if second is None or second.is_ended:
            return False
        return second.backend.name != attempt.backend.name

    def _is_judge_awaited(self, attempt: Attempt) -> bool:
        """Ask the judge, once an answer; nobody is asked whose word would change nothing."""
        if not self._is_judged:
            self._is_judged = True
            if attempt.kind not in ESCALATED or would_escalate(self._exchange, attempt):
                self._ask_judge(attempt)
        return self._judge is not None and not self._judge.is_ended

    def _ask_judge(self, attempt: Attempt) -> None:
        name = self._rule.judge
        assert name is not None  # the rule asks for one
        if name not in self._exchange.plane.world.unavailable:
            self._judge = make_judge(self._exchange, name, attempt, owner=self)
            if self._judge is not None:
                self._send(self._judge)

    def _send(self, attempt: Attempt) -> None:
        exchange = self._exchange
        exchange.attempts.append(attempt)
        exchange.plane.watch.asked(attempt)
        attempt.start(exchange.wiring.pools[attempt.backend.name])

    def _set_timer(self) -> None:
        exchange = self._exchange
        assert exchange.decision is not None
        now_s, until_s = monotonic(), exchange.deadline_s
        escalate = exchange.decision.route.escalate
        if escalate is not None and escalate.within_s is not None:
            until_s = min(until_s, exchange.arrival_s + escalate.within_s)
        wait_s = max(0.0, until_s - now_s) * SHARE_OF_TIME_LEFT
        self._is_hurried = wait_s < ASIDE_S
        if self._timer is not None:
            self._timer.cancel()
        self._timer = exchange.plane.loop.call_later(min(wait_s, ASIDE_S), self._too_late)

    def _too_late(self) -> None:
        self._timer = None
        try:
            for attempt in (self._second, self._judge):
                if attempt is not None and not attempt.is_ended:
                    self._abort(attempt, "timeout", is_innocent=self._is_hurried)
            self._is_judged = True
            self._go_on()
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self._exchange.plane.crashed(self._exchange, error)

    def _abort(self, attempt: Attempt, failure: str, *, is_innocent: bool) -> None:
        attempt.is_innocent = is_innocent
        attempt.abort(failure, "its word on an answer was not waited for")
        self._exchange.plane.attempt_ended(attempt)
