"""Answered requests shown to another backend as well: for labels, and for newcomers.

    ended      an answered request is drawn by its seed; what a copy needs is put aside
    answered   the client has its answer: now, and not before, the copy waits for its turn
    sent       on connections of its own, while the backend has room that no client needs
    over       its answer is a label in the journal (shadow_label.py); it reaches nobody else

Rules:
- Never in the way. A copy takes none of the places of clients, waits WAIT_S_MAX at the longest,
  and is dropped rather than kept: where too many wait, where it is too large, where the backend
  is out of order, where the day's money is spent, when the worker drains. What is dropped is
  counted, and so is what was sent.
- Where the client's answer came from that backend, it is the label and costs nothing.
- The prompt goes where the policy says and no further: `capture: off` is never copied, and with
  `capture: metadata` the label has no text.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Literal, NamedTuple

from adapters.pool import Pool
from policies.shadowing import DailyBudget, is_drawn
from policies.words import SHADOW_BUDGET_USD, Route
from telemetry.logs import log
from telemetry.metrics import Counters
from telemetry.record import LabelRecord

from .attempt import Attempt
from .shadow_call import DROPPED, Question, ShadowCall
from .shadow_label import SPOILT, label_of, said_by

if TYPE_CHECKING:
    from .exchange import Exchange
    from .wiring import Wiring

AT_ONCE_MAX = 16
"""Copies under way in one worker: 3 a second at o3-mini's five seconds."""
WAITING_MAX = 64
WAITING_BYTES_MAX = 16 << 20
BODY_BYTES_MAX = 1 << 20
"""A larger request is not copied: it would be decoded on the loop, and 1 MiB takes 5 ms."""
WAIT_S_MAX = 30.0
"""Later the prompt's cache is cold and the hour another one."""
LOOK_EVERY_S = 0.25
ROOM_SHARE = 0.5
"""A backend more than half used by clients is left to them."""

APIS = ("chat", "messages")
"""Whose questions can be found again by what was asked, and whose answers are messages."""

Source = Literal["shadow", "canary"]
Keep = Callable[[LabelRecord], None]
Unavailable = Callable[[], Mapping[str, str]]


class Order(NamedTuple):
    """Show `share` of a route's answered requests to `backend`, for `budget_usd` a day at most."""

    backend: str
    share: float
    budget_usd: float = SHADOW_BUDGET_USD
    source: Source = "shadow"


class Shadows:
    """All copies of one worker. `keep` takes the labels, `count` the calls when they are over;
    `unavailable` tells who is out of order.

    `newcomers` are orders by route that the policy file does not say, as a canary's first stage;
    whoever replaces the mapping is heard from the next request on.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        workers: int,
        keep: Keep,
        unavailable: Unavailable,
        count: Callable[[Attempt], None],
    ) -> None:
        self.is_on = False
        """Whether any route of the policy may ask for copies."""
        self.newcomers: Mapping[str, Order] = {}
        self._loop = loop
        self._workers = workers
        self._keep = keep
        self._unavailable = unavailable
        self._count = count
        self._waiting: deque[Question] = deque()
        self._waiting_bytes = 0
        self._running: set[ShadowCall] = set()
        self._pools: dict[Pool, Pool] = {}
        """Our own connections, by the pool of the clients."""
        self._budgets: dict[tuple[str, str, str], DailyBudget] = {}
        """By route, source and backend."""
        self._counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Shadows running={len(self._running)} waiting={len(self._waiting)}>"

    # -- what the data plane uses -------------------------------------------------------------

    def follow(self, wiring: "Wiring") -> None:
        """Take up a configuration; what waits or runs goes on with its own."""
        routes = wiring.policy.routes
        self.is_on = any(route.shadow or route.canary for route in routes)
        there = set(wiring.pools.values())
        for pool in set(self._pools) - there:
            self._pools.pop(pool).close()
        names = {route.name for route in routes}
        self._budgets = {key: one for key, one in self._budgets.items() if key[0] in names}

    def stop(self) -> None:
        """Drop what waits and start nothing any more."""
        self._is_closed = True
        while self._waiting:
            self._drop(self._waiting.popleft(), "drain")
        self._waiting_bytes = 0

    def close(self) -> None:
        """Drop everything."""
        self.stop()
        if self._timer is not None:
            self._timer.cancel()
        for call in tuple(self._running):
            call.abort()
            self._over(call)
        for pool in self._pools.values():
            pool.close()

    def counters(self) -> Counters:
        """What became of copies, by backend."""
        return {
            ("pointsman_shadows_total", (("backend", backend), ("outcome", outcome))): float(count)
            for (backend, outcome), count in self._counts.items()
        }

    def state(self) -> dict[str, object]:
        """As JSON data."""
        return {
            "running": len(self._running),
            "waiting": len(self._waiting),
            "spent_usd": {
                " ".join(key): round(budget.spent_usd, 6) for key, budget in self._budgets.items()
            },
        }

    # -- what exchanges use -------------------------------------------------------------------

    def ended(self, exchange: "Exchange", won: Attempt) -> tuple[Question, ...]:
        """What is to be asked of whom once the client has its answer; drawn by the seed."""
        try:
            return self._questions(exchange, won)
        except Exception as error:  # noqa: BLE001 - the boundary of a copy: the client is not its victim
            log("shadow_failed", level="error", error=type(error).__name__)
            return ()

    def begin(self, questions: tuple[Question, ...]) -> None:
        """The client has its answer."""
        try:
            for question in questions:
                self._begin(question)
            self._pump()
        except Exception as error:  # noqa: BLE001 - the boundary of a copy
            log("shadow_failed", level="error", error=type(error).__name__)

    # -- inside -------------------------------------------------------------------------------

    def _questions(self, exchange: "Exchange", won: Attempt) -> tuple[Question, ...]:
        decision, endpoint, body = exchange.decision, exchange.endpoint, exchange.body
        if decision is None or endpoint is None or body is None or self._is_closed:
            return ()
        route = decision.route
        if endpoint.api not in APIS or exchange.capture == "off" or won.failure is not None:
            return ()
        drawn = [
            order
            for order in self._orders(route)
            if order.backend in exchange.wiring.targets
            and is_drawn(decision.seed, order.share, backend=order.backend)
        ]
        if not drawn:
            return ()
        served = said_by(endpoint, won.reader, won.body)
        return tuple([Question(order, exchange, won, served) for order in drawn])

    def _begin(self, question: Question) -> None:
        if question.served_by != question.order.backend:
            self._take(question)
        elif question.order.source == "shadow":
            # the reference served the request itself: its answer is known and paid for
            self._label(label_of(question, question.served, cost_usd=0.0))

    def _orders(self, route: Route) -> list[Order]:
        found = []
        if route.shadow is not None:
            shadow = route.shadow
            found.append(Order(shadow.backend, shadow.share, shadow.budget_usd))
        if route.canary is not None and route.name in self.newcomers:
            found.append(self.newcomers[route.name])
        return found

    def _take(self, question: Question) -> None:
        size = len(question.body)
        if size > BODY_BYTES_MAX:
            self._drop(question, "too_large")
        elif self._is_closed:
            self._drop(question, "drain")
        elif len(self._waiting) >= WAITING_MAX or self._waiting_bytes + size > WAITING_BYTES_MAX:
            self._drop(question, "full")
        else:
            question.since_s = monotonic()
            self._waiting.append(question)
            self._waiting_bytes += size

    def _pump(self) -> None:
        """Send what may be sent now, oldest first; look again soon where something waits."""
        now_s = monotonic()
        for question in tuple(self._waiting):
            why = self._why_not(question, now_s)
            if why == "wait" and now_s - question.since_s <= WAIT_S_MAX:
                continue
            self._waiting.remove(question)
            self._waiting_bytes -= len(question.body)
            if why is None:
                self._send(question)
            else:
                self._drop(question, "busy" if why == "wait" else why)
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        self._timer = None
        self._pump()

    def _why_not(self, question: Question, now_s: float) -> str | None:
        """Why a copy is not sent now: `wait`, or why never; None where its money is reserved."""
        name = question.order.backend
        if name in self._unavailable():
            return "unavailable"
        clients = question.wiring.pools[name]
        mine = sum(call.question.order.backend == name for call in self._running)
        room = clients.backend.in_flight_max * ROOM_SHARE
        if len(self._running) >= AT_ONCE_MAX or clients.in_flight + mine >= max(1.0, room):
            return "wait"
        return None if self._budget(question).take(now_s) else "budget"

    def _budget(self, question: Question) -> DailyBudget:
        order = question.order
        key = (question.route.name, order.source, order.backend)
        usd_a_day = order.budget_usd / self._workers
        found = self._budgets.get(key)
        if found is None or found.usd_a_day != usd_a_day:
            found = self._budgets[key] = DailyBudget(usd_a_day)
        return found

    def _send(self, question: Question) -> None:
        clients = question.wiring.pools[question.order.backend]
        pool = self._pools.get(clients)
        if pool is None:
            pool = self._pools[clients] = clients.apart(AT_ONCE_MAX)
        call = ShadowCall(question, self._budget(question), self._over, loop=self._loop)
        self._running.add(call)
        call.start(pool)

    def _over(self, call: ShadowCall) -> None:
        """A copy was answered, failed, or was given up."""
        if call not in self._running:
            return
        self._running.discard(call)
        call.budget.pay(call.cost_usd)
        if call.attempt is not None:
            self._count(call.attempt)
        if call.failure == DROPPED:
            self._drop(call.question, "drain")
            return
        self._label(
            label_of(
                call.question,
                call.said,
                failure=call.failure,
                cost_usd=call.cost_usd,
                usage=call.usage,
                took_us=call.took_us,
            )
        )
        if not self._is_closed:
            self._loop.call_soon(self._pump)

    def _label(self, label: LabelRecord) -> None:
        outcome = "spoilt" if label.verdict in SPOILT else "failed"
        outcome = "labelled" if label.verdict is None else outcome
        self._counts[label.backend or "", outcome] += 1
        self._keep(label)

    def _drop(self, question: Question, why: str) -> None:
        self._counts[question.order.backend, f"dropped_{why}"] += 1
