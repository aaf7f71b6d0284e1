"""The decision: one route's candidates, predicted, held against the limits, one chosen.

Pure: what was learned, what is in flight and what is out of order come in as a `World`, the
identity and the seed as arguments. The order of things:

    1. unavailable candidates are left out; where none is left, the first of `on_failure` that is
       available answers; where there is none either, they are asked all the same
    2. the limits: latency, cost, error. Unknown never excludes
    3. `prefer` among those that meet them; `if_none` among all that are available
"""

from collections.abc import Mapping
from typing import Final

from .affinity import Prefix, held_words, saving_usd
from .asked import Features
from .choice import Candidate, Choice, World
from .compiled_route import CompiledCandidate, CompiledRoute, quantile_word, span_word, usd_word
from .decision import Decision
from .explore import explore
from .gain import gain_over, send_to_reference
from .inquiry import Inquiry, LatencyQuestion, size_bucket
from .load import load_bucket
from .policy import Policy
from .ranking import best
from .recovery import try_again
from .route_match import RouteMatch
from .view import View
from .words import CostLimit, ErrorLimit, Preference, Route

CHOICES_MAX: Final = 4096
"""Kinds of request whose choice is kept; about 1 KB each."""


def decide(
    policy: Policy,
    match: RouteMatch,
    features: Features,
    world: World,
    *,
    decision_id: str,
    seed: int,
    acceptable: Mapping[str, float] | None = None,
    prefix: Prefix | None = None,
) -> Decision:
    """Choose a backend for one request on the route that takes it.

    `acceptable` is P(acceptable answer) per backend, for this request's own words; what is NaN
    or not in it is unknown. `prefix` is what one backend has read of the conversation.

    Requests of one kind (route, task, size to 3 %, limit, load of the machines) get one choice
    until something is learned: making it costs 4 us, finding it again half of one.
    """
    compiled = match.compiled
    prompt_bytes = rounded_bytes(features.prompt_bytes)
    limit = features.max_tokens
    if limit is not None:
        limit *= features.choices
    loads = tuple([world.in_flight.get(name, 0) for name in compiled.machines])
    if compiled.timed:
        loads += _timed_loads(compiled, world)
    is_certified = match.route.name in world.certified
    key = (compiled.question, features.task, prompt_bytes, limit, loads, is_certified)
    kept = world.learned.choices
    is_weighed = bool(acceptable) and compiled.weighs_chances
    is_kept = not is_weighed and prefix is None
    if is_kept and world.unavailable:
        is_kept = not _is_touched(compiled, world.unavailable)
    choice = kept.get(key) if is_kept else None
    if choice is None:
        weighed = acceptable if acceptable and is_weighed else {}
        choice = _choice(match, features.task, prompt_bytes, limit, world, weighed, prefix)
        if is_kept:
            if len(kept) >= CHOICES_MAX:
                kept.clear()
            kept[key] = choice
    assert isinstance(choice, Choice)
    if acceptable and not is_weighed:
        choice = _told(choice, acceptable)
    if match.route.explore is not None:
        choice = explore(choice, match.route.explore.share, compiled.plans, seed=seed)
    if compiled.question.budget_s is not None:
        choice = try_again(choice, match.route, compiled, world, seed=seed)
    return Decision(
        decision_id,
        match.route,
        policy.digest,
        choice.chosen,
        choice.reason,
        choice.candidates,
        choice.plan,
        seed,
        world.learned.name,
    )


def alternative(
    match: RouteMatch,
    features: Features,
    world: World,
    *,
    besides: str,
    unavailable: Mapping[str, str],
) -> Candidate | None:
    """The candidate to be chosen were `besides` not there; None where no other one is eligible."""
    left_out = {**unavailable, besides: "asked already"}
    without = World(world.learned, world.in_flight, left_out, world.certified, world.void)
    prompt_bytes = rounded_bytes(features.prompt_bytes)
    choice = _choice(match, features.task, prompt_bytes, output_max(features), without, {})
    for candidate in choice.candidates:
        name = candidate.backend
        if name == choice.chosen and name != besides and candidate.eligible:
            return candidate if name in match.route.candidates else None
    return None


def output_max(features: Features) -> int | None:
    """The client's limit on output tokens, of all choices together."""
    limit = features.max_tokens
    return None if limit is None else limit * features.choices


def _timed_loads(compiled: CompiledRoute, world: World) -> tuple[int, ...]:
    """As `load_of` has them, in a third of the time."""
    beside = world.in_flight.get
    return tuple([(beside(name, 0) + 1).bit_length() for name in compiled.timed])


def load_of(backend: str, world: World) -> int:
    """The bucket of a backend's load once this request is there too."""
    return load_bucket(world.in_flight.get(backend, 0) + 1)


def _is_touched(compiled: CompiledRoute, unavailable: Mapping[str, str]) -> bool:
    """Whether a backend of this route is out of order: one of another changes nothing here."""
    return any(candidate.backend in unavailable for candidate in compiled.candidates)


def _told(choice: Choice, acceptable: Mapping[str, float]) -> Choice:
    """A choice that did not weigh the answers' chances, with them beside the candidates."""
    candidates = [
        Candidate(
            one.backend,
            one.eligible,
            one.cost_usd,
            one.latency_p50_s,
            one.latency_p95_s,
            one.latency_p_within,
            _chance(acceptable, one.backend),
            one.propensity,
            one.prior,
            one.reason,
        )
        for one in choice.candidates
    ]
    return Choice(choice.chosen, choice.reason, tuple(candidates), choice.plan)


def _chance(acceptable: Mapping[str, float], backend: str) -> float | None:
    """P(acceptable answer); None where it is not known, NaN, or no probability at all."""
    chance = acceptable.get(backend)
    return chance if chance is not None and 0.0 <= chance <= 1.0 else None


def rounded_bytes(prompt_bytes: int) -> int:
    """A prompt's size to five significant bits, in the middle of its step: within 1.6 %."""
    shift = prompt_bytes.bit_length() - 6
    if shift <= 0:
        return prompt_bytes
    return (prompt_bytes >> shift << shift) + (1 << shift - 1)


def _choice(
    match: RouteMatch,
    task: str,
    prompt_bytes: int,
    limit: int | None,
    world: World,
    acceptable: Mapping[str, float],
    prefix: Prefix | None = None,
) -> Choice:
    route, compiled = match.route, match.compiled
    is_uncertified = route.require.error is not None and route.name not in world.certified
    size, load = size_bucket(prompt_bytes), 1 if compiled.timed else 0
    inquiry = Inquiry(compiled.question, task, size, limit, load)
    views = [
        _predict(candidate, inquiry, world, prompt_bytes, acceptable)
        for candidate in compiled.candidates
        if is_uncertified or not candidate.is_reference_only
    ]
    if prefix is not None:
        _lower_cost(views, prompt_bytes, prefix)
    fallback = None
    if world.unavailable:
        needed = route.require.error.reference if is_uncertified and route.require.error else None
        fallback = _fallback(compiled, needed, world)
    chosen: View | None
    if fallback is not None:
        chosen = _predict(fallback, inquiry, world, prompt_bytes, acceptable)
        _name_failures(views, world.unavailable)
        views.append(chosen)
        reason = f"none of {len(views) - 1} is available: {fallback.backend} of on_failure taken"
    elif is_uncertified:
        chosen, reason = _take_reference(route, views, world.void.get(route.name))
    else:
        available = _available(views, world.unavailable)
        _hold_against_limits(compiled, route.require.cost, available)
        chosen, reason = _choose(route, compiled, available)
        error = route.require.error
        if chosen is not None and error is not None and error.gain is not None:
            sure = _of_reference(error, compiled, views, inquiry, world, prompt_bytes, acceptable)
            found = gain_over(chosen, sure)
            if chosen is not sure and (found is None or found >= error.gain):
                chosen, reason = send_to_reference(sure, views, found, least=error.gain)
    return Choice(
        chosen.backend if chosen is not None else None,
        reason,
        tuple([_candidate(view, view is chosen) for view in views]),
        compiled.plans[chosen.backend] if chosen is not None else (),
    )


def _predict(
    candidate: CompiledCandidate,
    inquiry: Inquiry,
    world: World,
    prompt_bytes: int,
    acceptable: Mapping[str, float],
) -> View:
    if inquiry.load:
        inquiry = inquiry._replace(load=load_of(candidate.backend, world))
    prediction = world.learned.predict(candidate.facts, inquiry)
    cost = prediction.cost
    usd = cost.fixed_usd
    if usd is not None:
        usd += cost.per_byte_usd * prompt_bytes
        if cost.is_machine:
            usd /= 1 + world.in_flight.get(candidate.backend, 0)
    return View(candidate.backend, prediction, usd, _chance(acceptable, candidate.backend))


def _lower_cost(views: list[View], prompt_bytes: int, prefix: Prefix) -> None:
    """Whoever has read the conversation reads it again for less."""
    for view in views:
        if view.backend == prefix.backend and view.rank_usd is not None:
            less_usd = saving_usd(view.prediction.cost, prompt_bytes, prefix)
            if less_usd > 0:
                view.rank_usd -= less_usd
                view.cost_usd = None if view.cost_usd is None else view.cost_usd - less_usd
                view.note = held_words(prefix)


def _fallback(
    compiled: CompiledRoute, needed: str | None, world: World
) -> CompiledCandidate | None:
    """Who answers where every candidate is out of order, or the one that is `needed`."""
    unavailable = world.unavailable
    if needed is not None:
        if needed not in unavailable:
            return None
    else:
        for candidate in compiled.candidates:
            if not candidate.is_reference_only and candidate.backend not in unavailable:
                return None
    for candidate in compiled.fallbacks:
        if candidate.backend not in unavailable:
            return candidate
    return None


def _available(views: list[View], unavailable: Mapping[str, str]) -> list[View]:
    """Those not out of order; all of them where that would leave none."""
    if not unavailable:
        return views
    available = [view for view in views if view.backend not in unavailable]
    if not available:
        return views
    _name_failures(views, unavailable)
    return available


def _name_failures(views: list[View], unavailable: Mapping[str, str]) -> None:
    for view in views:
        if view.backend in unavailable:
            view.failure = f"unavailable: {unavailable[view.backend]}"


def _hold_against_limits(
    compiled: CompiledRoute, cost: CostLimit | None, views: list[View]
) -> None:
    """Name each view's first failure. What is unknown fails nothing."""
    quantile = compiled.question.quantile
    for view in views:
        within = view.prediction.latency.p_within
        if within is not None and within < quantile:
            view.failure = _late(compiled.question, within)
        elif cost is not None and view.cost_usd is not None:
            least_usd = view.cost_usd - view.prediction.cost.spare_usd
            if least_usd > cost.max_usd:
                view.failure = f"{usd_word(least_usd)} is above {usd_word(cost.max_usd)}"


def _choose(
    route: Route, compiled: CompiledRoute, available: list[View]
) -> tuple[View | None, str]:
    """The one taken under `prefer`, else under `if_none`, and why."""
    count = len(available)
    eligible = [view for view in available if view.failure is None]
    if eligible:
        chosen = best(route.prefer, compiled, eligible, route.weights)
        return chosen, _words(route.prefer, len(eligible), count, compiled.limits)
    missed = f"none of {count} meets {compiled.limits}"
    if route.if_none == "reject":
        return None, f"{missed}: rejected"
    chosen = best(route.if_none, compiled, available, None)
    return chosen, f"{missed}: {route.if_none} taken"


def _take_reference(route: Route, views: list[View], void: str | None) -> tuple[View, str]:
    """While nothing is certified, the reference answers everything."""
    limit = route.require.error
    assert limit is not None  # the caller looked
    for view in views:
        if view.backend != limit.reference:
            view.failure = f"not certified: only the reference {limit.reference} may answer"
    chosen = next(view for view in views if view.backend == limit.reference)
    promise = f"error {limit.max * 100:.4g}%"
    why = "" if void is None else f" ({void})"
    return chosen, f"no certified lock for {promise}{why}: reference {limit.reference}"


def _of_reference(
    limit: ErrorLimit,
    compiled: CompiledRoute,
    views: list[View],
    inquiry: Inquiry,
    world: World,
    prompt_bytes: int,
    acceptable: Mapping[str, float],
) -> View:
    """The reference as it stands among the candidates, or beside them."""
    for view in views:
        if view.backend == limit.reference:
            return view
    for candidate in compiled.candidates:
        if candidate.backend == limit.reference:
            return _predict(candidate, inquiry, world, prompt_bytes, acceptable)
    raise LookupError(limit.reference)  # compile_route put it there


def _candidate(view: View, is_chosen: bool) -> Candidate:
    prediction = view.prediction
    latency = prediction.latency
    return Candidate(
        view.backend,
        view.failure is None,
        view.cost_usd,
        latency.p50_s,
        latency.p95_s,
        latency.p_within,
        view.acceptable,
        1.0 if is_chosen else 0.0,
        prediction.prior,
        view.failure or (f"{prediction.reason}, {view.note}" if view.note else prediction.reason),
    )


# -- words ---------------------------------------------------------------------------------------


def _words(prefer: Preference, eligible: int, available: int, limits: str) -> str:
    word = "best by weight" if prefer == "weighted" else prefer
    if available == 1:
        return f"the only candidate, meets {limits}" if limits else "the only candidate"
    if eligible == 1:
        return f"the only one of {available} that meets {limits}"
    return f"{word} of {eligible} that meet {limits}" if limits else f"{word} of {eligible}"


def _late(question: LatencyQuestion, within: float) -> str:
    assert question.budget_s is not None  # a share within was computed
    asked, budget = quantile_word(question.quantile), span_word(question.budget_s)
    return f"{within:.1%} within {budget}, {asked} asked"
