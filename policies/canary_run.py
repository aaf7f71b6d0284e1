"""A canary's way from its first answer to the whole traffic, or back: a pure state machine.

    running --> the next stage        every matter proved kept, and `min_samples` seen at this one
            --> promoted | held       behind the last stage, as `then` says
            --> rolled_back           a matter proved worse than allowed, or the operator's word

Times come as arguments. What is here is kept beside the captures and outlives every process.
"""

from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from .canary_trial import (
    Allowed,
    CanaryTrial,
    MatterName,
    Seen,
    begin,
    broken,
    next_stage,
    observe_label,
    observe_new,
    observe_old,
    observe_pair,
    unproved,
)
from .facts import BackendFacts
from .policy import digest_of
from .words import Canary, Clock, Route

Status = Literal["running", "held", "promoted", "rolled_back"]
By = Literal["keeper", "operator"]
Stage = float | Literal["shadow"]
What = Literal["started", "next_stage", "held", "promoted", "rolled_back"]

STEPS_MAX: Final = 100
"""The newest are kept with the run; the store's events have them all."""


class Step(msgspec.Struct, frozen=True):
    """Something a canary did."""

    ts_us: int
    what: What
    stage: str
    by: By
    reason: str


class CanaryRun(msgspec.Struct, frozen=True):
    """One canary of one route."""

    route: str
    backend: str
    replaces: str
    stages: tuple[Stage, ...]
    identity: str
    """Of what it is to keep and between whom; another one is another canary."""
    trial: CanaryTrial
    clock: Clock = "total"
    """Of the latency to keep. Copies are not streamed: the stage `shadow` shows no first token."""
    status: Status = "running"
    stage: int = 0
    started_us: int = 0
    since_us: int = 0
    """When this stage began."""
    samples: int = 0
    """Answers of the canary at this stage, one a conversation."""
    steps: tuple[Step, ...] = ()


class Arm(msgspec.Struct, frozen=True, array_like=True):
    """What a worker needs of a canary: who takes over how much from whom."""

    backend: str
    replaces: str
    share: float
    is_shadow: bool = False


def identity_of(route: Route, backend: BackendFacts, replaced: BackendFacts) -> str:
    """Digest of the two backends and of what is to be kept. `then` and `min_samples` may change
    on the way: they decide when, not what."""
    canary = route.canary
    assert canary is not None  # the caller looked
    plain = replace(canary, min_samples=1, then="hold")
    asked = Route(name=route.name, candidates=(canary.replaces,), canary=plain)
    digest = digest_of([asked], {backend.name: backend, replaced.name: replaced})
    return f"{digest}:{clock_of(route)}"


def allowed_by(canary: Canary) -> Allowed:
    """`keep_if` as the tests want it."""
    keep = canary.keep_if
    quantile = keep.latency_quantile
    late = None if quantile is None else round(1.0 - quantile, 9)
    return Allowed(error=keep.error, late=late, cost=keep.cost)


def clock_of(route: Route) -> Clock:
    """Which time `keep_if` limits: that of the route's own budget."""
    return "total" if route.require.latency is None else route.require.latency.of


def judges_answers(route: Route) -> bool:
    """Whether something on the route can tell a wrong answer from a right one at once."""
    rule = route.confidence
    if rule is None:
        return False
    looks = ("checks" in rule.signals and route.checks) or "schema" in rule.signals
    return bool(looks) or "agreement" in rule.signals or rule.judge is not None


def begin_run(route: Route, identity: str, *, now_us: int, by: By, reason: str) -> CanaryRun:
    """A canary at its first stage."""
    canary = route.canary
    assert canary is not None  # the caller looked
    run = CanaryRun(
        route=route.name,
        backend=canary.backend,
        replaces=canary.replaces,
        stages=canary.stages,
        identity=identity,
        trial=begin(allowed_by(canary)),
        clock=clock_of(route),
        started_us=now_us,
        since_us=now_us,
    )
    return _noted(run, "started", now_us, by, reason)


# -- what it sees --------------------------------------------------------------------------------


def saw_new(run: CanaryRun, seen: Seen) -> CanaryRun:
    """The canary answered a request of its own."""
    return replace(run, trial=observe_new(run.trial, seen), samples=run.samples + 1)


def saw_old(run: CanaryRun, seen: Seen) -> CanaryRun:
    """The backend it replaces answered one."""
    return replace(run, trial=observe_old(run.trial, seen))


def saw_pair(run: CanaryRun, new: Seen, old: Seen) -> CanaryRun:
    """Both answered the same request."""
    return replace(run, trial=observe_pair(run.trial, new, old), samples=run.samples + 1)


def saw_label(run: CanaryRun, *, new: float | None = None, old: float | None = None) -> CanaryRun:
    """A label came for an answer of one of them, or of both to one request."""
    return replace(run, trial=observe_label(run.trial, new=new, old=old))


# -- what it does --------------------------------------------------------------------------------


def advance(run: CanaryRun, canary: Canary, *, now_us: int) -> CanaryRun:
    """The run after what the tests say now; the same one where there is nothing to do."""
    if run.status not in ("running", "held"):
        return run
    reason = broken(run.trial, stages=len(run.stages))
    if reason is not None:
        return roll_back(run, now_us=now_us, by="keeper", reason=reason)
    if run.status == "held" or waits_for(run, canary):
        return run
    reason = f"everything kept after {run.samples} answers"
    if run.stage + 1 < len(run.stages):
        return to_next_stage(run, now_us=now_us, by="keeper", reason=reason)
    if canary.then == "promote":
        return promote(run, now_us=now_us, by="keeper", reason=reason)
    return _noted(replace(run, status="held"), "held", now_us, "keeper", reason)


def waits_for(run: CanaryRun, canary: Canary) -> list[str]:
    """What is missing before the next step, in words."""
    left_out: tuple[MatterName, ...] = (
        ("late",) if run.clock != "total" and run.stages[run.stage] == "shadow" else ()
    )
    waiting = [f"not proved yet: {one}" for one in unproved(run.trial, without=left_out)]
    if run.samples < canary.min_samples:
        waiting.insert(0, f"{run.samples} of {canary.min_samples} answers at this stage")
    return waiting


def to_next_stage(run: CanaryRun, *, now_us: int, by: By, reason: str) -> CanaryRun:
    """One stage further. There must be one."""
    further = replace(
        run,
        stage=run.stage + 1,
        since_us=now_us,
        samples=0,
        trial=next_stage(run.trial),
    )
    return _noted(further, "next_stage", now_us, by, reason)


def promote(run: CanaryRun, *, now_us: int, by: By, reason: str) -> CanaryRun:
    """The canary takes the whole place of the backend it replaces."""
    return _noted(replace(run, status="promoted", since_us=now_us), "promoted", now_us, by, reason)


def roll_back(run: CanaryRun, *, now_us: int, by: By, reason: str) -> CanaryRun:
    """All traffic goes as it went before."""
    back = replace(run, status="rolled_back", since_us=now_us)
    return _noted(back, "rolled_back", now_us, by, reason)


def arm_of(run: CanaryRun) -> Arm | None:
    """What the workers do; None: as if there were no canary."""
    if run.status == "rolled_back":
        return None
    if run.status == "promoted":
        return Arm(run.backend, run.replaces, 1.0)
    stage = run.stages[run.stage]
    if stage == "shadow":
        return Arm(run.backend, run.replaces, 0.0, is_shadow=True)
    return Arm(run.backend, run.replaces, stage)


def stage_word(run: CanaryRun) -> str:
    """`shadow`, `1%`, or how it ended."""
    if run.status in ("promoted", "rolled_back"):
        return run.status.replace("_", " ")
    return share_word(run.stages[run.stage])


def share_word(stage: Stage) -> str:
    """0.01 -> `1%`."""
    return stage if isinstance(stage, str) else f"{stage * 100:.4g}%"


def suggested_edit(route: Route, run: CanaryRun) -> str:
    """The lines of the configuration that make a promotion the file's own word."""
    names = [run.backend if name == run.replaces else name for name in route.candidates]
    return (
        f"routes:\n  {route.name}:\n"
        f"    candidates: [{', '.join(names)}]  # {run.backend} in place of {run.replaces}\n"
        "    # and take `canary:` out"
    )


def _noted(run: CanaryRun, what: What, now_us: int, by: By, reason: str) -> CanaryRun:
    step = Step(now_us, what, share_word(run.stages[run.stage]), by, reason)
    return replace(run, steps=(*run.steps, step)[-STEPS_MAX:])
