"""What would have changed a choice: the decision made again with one thing different.

One lever is moved at a time, outward from where it stands, and `decide` itself says who would be
chosen then. Of each other candidate the nearest change that brings it is told, in the units the
operator writes; nothing here knows how a choice is made.

    require.latency, require.cost, weights      what the operator asks for
    price, latency, p_acceptable                of one candidate, as predicted
    available, certified                        what is either so or not

For people who ask why, not for requests: some hundred decisions, about 0.1 s.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from .asked import Features
from .choice import World
from .compiled_route import compile_route, quantile_word, span_word, usd_word
from .decide import decide
from .facts import BackendFacts
from .inquiry import Cells, Inquiry, LatencyQuestion, size_bucket
from .learned import Learned, Prediction
from .policy import Policy
from .prediction import predict
from .route_match import RouteMatch
from .words import Route, Weights

FACTOR_MAX = 1000.0
"""Nothing is moved further: a price or a time a thousandfold is another backend."""
STEPS = 24
"""Looked at in each direction; between two of them the place is then found by halving."""
HALVINGS = 20
DIGITS = 3
FOREIGN = 1.1
"""By so much a backend's price or time lies farther off than a limit one may write oneself."""

What = Literal[
    "require.latency", "require.cost", "weights.error", "weights.late",
    "price", "latency", "p_acceptable", "available", "certified",
]  # fmt: skip


class Change(msgspec.Struct, frozen=True):
    """With this one thing different, `chosen` would have been."""

    chosen: str
    what: What
    of: str | None
    """The candidate it is a matter of."""
    now: float | None
    then: float | None
    """Seconds, dollars (of `price`: per million output tokens, or per hour) or a share."""
    words: str


class Question(NamedTuple):
    """A decision that can be made again."""

    policy: Policy
    match: RouteMatch
    features: Features
    world: World
    acceptable: Mapping[str, float] = {}


class _Lever(NamedTuple):
    what: What
    of: str | None
    now: float
    is_share: bool
    """Moved by adding, between 0 and 1; else by a factor."""
    moved: Callable[[float], Question]
    words: Callable[[float], str]


class _Found(NamedTuple):
    distance: float
    change: Change


def changes(question: Question) -> list[Change]:
    """The nearest change for every other candidate that one change can bring, nearest first."""
    plain = _altered(_without_draw(question), {})
    before = _chosen(plain)
    found: dict[str, _Found] = {}
    for one in (*_switches(plain), *(hit for lever in _levers(plain) for hit in _pull(lever))):
        name = one.change.chosen
        if name != before and (name not in found or one.distance < found[name].distance):
            found[name] = one
    return [one.change for one in sorted(found.values(), key=lambda one: one.distance)]


def change_json(change: Change) -> dict[str, object]:
    """As `explain --json` prints it."""
    return {name: getattr(change, name) for name in Change.__struct_fields__}


# -- deciding again ------------------------------------------------------------------------------


def _chosen(question: Question) -> str | None:
    return decide(
        question.policy,
        question.match,
        question.features,
        question.world,
        decision_id="explain",
        seed=0,
        acceptable=question.acceptable or None,
    ).chosen


def _without_draw(question: Question) -> Question:
    """Exploration is chance, and no reason for anything."""
    return _with_route(question, replace(question.match.route, explore=None))


def _with_route(question: Question, route: Route) -> Question:
    compiled = compile_route(route, question.policy.backends)
    return question._replace(match=RouteMatch(route, question.match.by, compiled))


class _Factors(NamedTuple):
    price: float = 1.0
    latency: float = 1.0


class _Altered(Learned):
    """What was learned, with the price or the times of some backends multiplied. Keeps nothing."""

    __slots__ = ("_base", "_factors")

    def __init__(self, base: Learned, factors: Mapping[str, _Factors]) -> None:
        super().__init__()
        self._base = base
        self._factors = factors

    def cells(self, backend: str, task: str, size: int) -> Cells:
        """As they are."""
        return self._base.cells(backend, task, size)

    def predict(self, facts: BackendFacts, inquiry: Inquiry) -> Prediction:
        """As it would be. A time scaled by f keeps a budget where the time keeps a f-th of it."""
        price, latency = self._factors.get(facts.name, _Factors())
        asked = inquiry.question
        budget_s = None if asked.budget_s is None else asked.budget_s / latency
        scaled = inquiry._replace(question=LatencyQuestion(asked.of, asked.quantile, budget_s))
        found = predict(facts, scaled, self.cells(facts.name, inquiry.task, inquiry.size))
        cost, times = found.cost, found.latency
        return replace(
            found,
            cost=replace(
                cost,
                fixed_usd=None if cost.fixed_usd is None else cost.fixed_usd * price,
                per_byte_usd=cost.per_byte_usd * price,
                spare_usd=cost.spare_usd * price,
            ),
            latency=replace(
                times,
                p50_s=_times(times.p50_s, latency),
                p95_s=_times(times.p95_s, latency),
                rank_s=_times(times.rank_s, latency),
            ),
        )


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _altered(question: Question, factors: Mapping[str, _Factors]) -> Question:
    learned = _Altered(question.world.learned, factors)
    return question._replace(world=replace(question.world, learned=learned))


# -- moving a lever ------------------------------------------------------------------------------


def _pull(lever: _Lever) -> Iterator[_Found]:
    """Who is brought by moving it up, and who by moving it down."""
    for is_up in (True, False):
        places = _places(lever, is_up=is_up)
        last = lever.now
        seen: set[str | None] = {_at(lever, lever.now)}
        for place in places:
            name = _at(lever, place)
            if name not in seen and name is not None:
                then = _rounded(lever, _nearest(lever, last, place, name), name)
                yield _Found(
                    _distance(lever, then),
                    Change(name, lever.what, lever.of, lever.now, then, lever.words(then)),
                )
            seen.add(name)
            last = place


def _at(lever: _Lever, value: float) -> str | None:
    return _chosen(lever.moved(value))


def _places(lever: _Lever, *, is_up: bool) -> list[float]:
    if lever.is_share:
        end = 1.0 if is_up else 0.0
        return [lever.now + (end - lever.now) * step / STEPS for step in range(1, STEPS + 1)]
    sign = 1.0 if is_up else -1.0
    return [lever.now * FACTOR_MAX ** (sign * step / STEPS) for step in range(1, STEPS + 1)]


def _nearest(lever: _Lever, near: float, far: float, name: str) -> float:
    """The place between the two from which on `name` is chosen; `far` at the latest."""
    for _ in range(HALVINGS):
        middle = (near + far) / 2 if lever.is_share else math.sqrt(near * far)
        if _at(lever, middle) == name:
            far = middle
        else:
            near = middle
    return far


def _rounded(lever: _Lever, value: float, name: str) -> float:
    """To three digits, away from where the lever stands, if that is still the same."""
    if value == 0.0:
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - DIGITS + 1)
    steps = value / unit
    short = (math.ceil(steps - 1e-9) if value > lever.now else math.floor(steps + 1e-9)) * unit
    short = float(f"{short:.{DIGITS}g}")
    return short if short > 0.0 and _at(lever, short) == name else value


def _distance(lever: _Lever, then: float) -> float:
    """How far it is moved; of two as far, the operator's own word is the nearer one."""
    moved = abs(then - lever.now) if lever.is_share else abs(math.log(then / lever.now))
    return moved if lever.of is None else moved * FOREIGN


# -- what can be moved ---------------------------------------------------------------------------


def _levers(question: Question) -> Iterator[_Lever]:
    yield from _limits(question)
    yield from _weights(question)
    for candidate in question.match.compiled.candidates:
        if not candidate.is_reference_only:
            yield from _of_candidate(question, candidate.facts)


def _limits(question: Question) -> Iterator[_Lever]:
    route = question.match.route
    require = route.require
    latency, cost = require.latency, require.cost

    def with_budget(budget_s: float) -> Question:
        assert latency is not None
        limit = replace(latency, budget_s=budget_s)
        return _with_route(question, replace(route, require=replace(require, latency=limit)))

    def with_cost(max_usd: float) -> Question:
        assert cost is not None
        limit = replace(cost, max_usd=max_usd)
        return _with_route(question, replace(route, require=replace(require, cost=limit)))

    if latency is not None:
        now, asked = span_word(latency.budget_s), quantile_word(latency.quantile)
        yield _Lever(
            "require.latency", None, latency.budget_s, False, with_budget,
            lambda then: f"require.latency {asked}: {span_word(then)} instead of {now}",
        )  # fmt: skip
    if cost is not None and cost.max_usd > 0:
        limit_usd = usd_word(cost.max_usd)
        yield _Lever(
            "require.cost", None, cost.max_usd, False, with_cost,
            lambda then: f"require.cost max: {usd_word(then)} instead of {limit_usd}",
        )  # fmt: skip


def _weights(question: Question) -> Iterator[_Lever]:
    route, weights = question.match.route, question.match.route.weights
    if route.prefer != "weighted" or weights is None:
        return
    if weights.error_usd > 0:
        yield _weight(question, "weights.error", weights.error_usd, "error_usd", weights)
    if weights.late_usd > 0:
        yield _weight(question, "weights.late", weights.late_usd, "late_usd", weights)


def _weight(question: Question, what: What, now: float, field: str, weights: Weights) -> _Lever:
    route = question.match.route

    def moved(usd: float) -> Question:
        return _with_route(question, replace(route, weights=replace(weights, **{field: usd})))

    def words(then: float) -> str:
        return f"{what}: {usd_word(then)} instead of {usd_word(now)}"

    return _Lever(what, None, now, False, moved, words)


def _of_candidate(question: Question, facts: BackendFacts) -> Iterator[_Lever]:
    name = facts.name
    yield from _price(question, facts)
    latency_s = _rank_s(question, facts)
    if latency_s is not None and latency_s > 0:
        quantile = quantile_word(question.match.compiled.question.quantile)
        yield _Lever(
            "latency", name, latency_s, False,
            lambda then: _altered(question, {name: _Factors(latency=then / latency_s)}),
            lambda then: f"latency of {name} ({quantile}): {span_word(then)} instead of"
            f" {span_word(latency_s)}",
        )  # fmt: skip
    chance = question.acceptable.get(name)
    if chance is not None and 0.0 <= chance <= 1.0:
        yield _Lever(
            "p_acceptable", name, chance, True,
            lambda then: question._replace(acceptable={**question.acceptable, name: then}),
            lambda then: f"share of right answers of {name}: {then:.3g} instead of {chance:.3g}",
        )  # fmt: skip


def _price(question: Question, facts: BackendFacts) -> Iterator[_Lever]:
    price, name = facts.price, facts.name
    if price is None:
        return
    now = price.output if price.per_hour is None else price.per_hour
    if not now:
        return
    unit = "per million output tokens, input alike" if price.per_hour is None else "per hour"
    yield _Lever(
        "price", name, now, False,
        lambda then: _altered(question, {name: _Factors(price=then / now)}),
        lambda then: f"price of {name}: {usd_word(then)} instead of {usd_word(now)} {unit}",
    )  # fmt: skip


def _rank_s(question: Question, facts: BackendFacts) -> float | None:
    """What its time is at the quantile asked for."""
    features = question.features
    limit = features.max_tokens
    inquiry = Inquiry(
        question.match.compiled.question,
        features.task,
        size_bucket(features.prompt_bytes),
        None if limit is None else limit * features.choices,
    )
    cells = question.world.learned.cells(facts.name, inquiry.task, inquiry.size)
    return predict(facts, inquiry, cells).latency.rank_s


# -- what is either so or not --------------------------------------------------------------------


def _switches(question: Question) -> Iterator[_Found]:
    world, route = question.world, question.match.route
    for candidate in question.match.compiled.candidates:
        name = candidate.backend
        if name in world.unavailable:
            there = {key: why for key, why in world.unavailable.items() if key != name}
            words = f"{name} available instead of out of order ({world.unavailable[name]})"
            changed = question._replace(world=replace(world, unavailable=there))
            yield from _switched(changed, "available", name, words)
    if route.require.error is not None and route.name not in world.certified:
        why = world.void.get(route.name)
        words = f"require.error certified instead of not{'' if why is None else f' ({why})'}"
        certified = world.certified | {route.name}
        changed = question._replace(world=replace(world, certified=certified))
        yield from _switched(changed, "certified", None, words)


def _switched(question: Question, what: What, of: str | None, words: str) -> Iterator[_Found]:
    chosen = _chosen(question)
    if chosen is not None:
        yield _Found(0.0, Change(chosen, what, of, None, None, words))
