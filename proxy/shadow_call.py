"""One copy of an answered request: what is asked, of whom, and how its answer comes in.

The question is the client's own, but for what only concerned how the answer was to come: it is
not streamed, has one choice, no logprobs, and is stored nowhere.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from adapters.edits import Wanted
from adapters.pool import Pool
from pointsman.tokens import Usage
from policies.shadowing import DailyBudget
from telemetry.logs import log

from .attempt import Attempt
from .endpoints import Endpoint
from .shadow_label import Said, said_by

if TYPE_CHECKING:
    from .exchange import Exchange
    from .shadow import Order

LEFT_OUT: Final = frozenset(
    ("stream", "stream_options", "n", "logprobs", "top_logprobs", "store", "metadata")
)
"""Members of the client's body that say how an answer comes, or where it is kept."""

DROPPED: Final = "dropped"

_decode = msgspec.json.Decoder(dict[str, object]).decode
_encode = msgspec.json.Encoder().encode


class Question:
    """What is left of an exchange that has ended, for a copy of it."""

    __slots__ = (
        "body",
        "capture",
        "endpoint",
        "head",
        "model",
        "order",
        "request_id",
        "route",
        "served",
        "served_by",
        "since_s",
        "wiring",
    )

    def __init__(self, order: "Order", exchange: "Exchange", won: Attempt, served: Said) -> None:
        decision, features = exchange.decision, exchange.features
        endpoint, body = exchange.endpoint, exchange.body
        assert decision is not None
        assert features is not None
        assert endpoint is not None
        assert body is not None
        self.order = order
        self.request_id = exchange.id
        self.wiring = exchange.wiring
        self.endpoint: Endpoint = endpoint
        self.head = exchange.head
        self.body: bytes = body
        self.route = decision.route
        self.capture = exchange.capture
        self.model = features.model
        self.served = served
        """What the client was answered."""
        self.served_by = won.backend.name
        self.since_s = 0.0
        """Since when it waits."""


class ShadowCall:
    """Owner of the copy's one attempt. `on_end` is called once, also where it was never sent."""

    attempt: Attempt | None = None
    failure: str | None = None
    said: Said | None = None
    """None: it failed."""

    def __init__(
        self,
        question: Question,
        budget: DailyBudget,
        on_end: "Callable[[ShadowCall], None]",
        *,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.question = question
        self.budget = budget
        """What has reserved for it, and is paid when it is over."""
        self._on_end = on_end
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<ShadowCall {self.question.request_id} {self.attempt!r}>"

    def start(self, pool: Pool) -> None:
        """Send it. A question this backend must not be asked fails at once."""
        try:
            self.attempt = self._make()
        except (ValueError, msgspec.MsgspecError, RecursionError):
            self.failure = "refused"
            self._on_end(self)
            return
        self._timer = self._loop.call_later(self.question.route.timeout.total_s, self._too_late)
        self.attempt.start(pool)

    def abort(self) -> None:
        """Nobody wants it any more; `on_end` is not called."""
        self._stop_clock()
        self.failure = DROPPED
        if self.attempt is not None:
            self.attempt.abort(DROPPED, "the worker drains")

    # -- what it came to ----------------------------------------------------------------------

    @property
    def cost_usd(self) -> float | None:
        """None: not known."""
        return None if self.attempt is None else self.attempt.cost_usd

    @property
    def usage(self) -> Usage:
        """As the backend reported it."""
        return Usage() if self.attempt is None else self.attempt.reader.usage

    @property
    def took_us(self) -> int | None:
        """From the call to its end."""
        attempt = self.attempt
        return None if attempt is None else int((attempt.ended_s - attempt.started_s) * 1e6)

    # -- Owner of the attempt -----------------------------------------------------------------

    def attempt_streams(self, attempt: Attempt, data: bytes) -> None:
        """An answer too large to be read is no label."""
        self._end("oversize")
        attempt.abort("oversize", "too large to be read")

    def attempt_ended(self, attempt: Attempt) -> None:
        """It is over."""
        try:
            if attempt.failure is None and self.failure is None:
                self.said = said_by(self.question.endpoint, attempt.reader, attempt.body)
            self._end(attempt.failure)
        except Exception as error:  # noqa: BLE001 - the boundary of one copy: no client waits for it
            log("shadow_failed", level="error", error=type(error).__name__)

    # -- inside -------------------------------------------------------------------------------

    def _make(self) -> Attempt:
        question = self.question
        endpoint, target = question.endpoint, question.wiring.targets[question.order.backend]
        if target.protocol != endpoint.shape:
            raise ValueError("another protocol")
        body = question_body(question.body)
        model = target.backend.model if question.model is None else question.model
        return Attempt(
            self,
            target,
            target.prepare(
                body,
                Wanted(model, False, True, False),
                header_lines=question.head.upstream_lines(target.to_upstream),
                query=question.head.query,
                path=endpoint.path,
            ),
            endpoint.make_reader(1, True),
            kind="shadow",
            is_held=True,
            loop=self._loop,
        )

    def _too_late(self) -> None:
        if self.attempt is not None and not self.attempt.is_ended:
            self.attempt.abort("timeout", "not answered in time")
            self._end("timeout")

    def _end(self, failure: str | None) -> None:
        if self.failure is not None:
            return
        self._stop_clock()
        self.failure = failure
        self._on_end(self)
        if self.attempt is not None:
            self.attempt.let_go()

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def question_body(body: bytes) -> bytes:
    """The client's question, to be answered whole. Raises msgspec.MsgspecError."""
    asked = _decode(body)
    return _encode({key: value for key, value in asked.items() if key not in LEFT_OUT})
