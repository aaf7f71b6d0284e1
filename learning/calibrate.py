"""`require.error` from labelled captures: the cheapest policy of a row that is proved to keep it.

The row is fixed before a label is read, safest first (policies/promise.py). What it consists of
is what the route can do with doubt:

    confidence   the route escalates: answers below a threshold of their confidence are asked
                 again. One threshold only where `accept` is a number
    gain         it does not, and models are fitted: requests that the reference is likelier by a
                 threshold to answer well go there at once
    all          neither: the reference answers everything, or nobody is asked twice

Thresholds are tried at every percent of what all captures have, labelled or not. A label that
says nothing of what a policy would have answered counts as wrong there: unknown is never right.
Only labels that are drawn count (people's, teachers'), and where a fitted model has a say, only
the half it was not fitted on. A capture that was answered by somebody else than would be asked
today says nothing of today's policy and is left out, and counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from math import inf, nextafter
from typing import Literal, NamedTuple

from policies.choice import World
from policies.decide import decide
from policies.facts import BackendFacts
from policies.fitted import NOTHING_FITTED, Fitted
from policies.fitted import Given as Seen
from policies.learned import Learned
from policies.lock import RouteLock, route_digest
from policies.policy import Policy
from policies.promise import certify_counts, row_errors, thresholds_of
from policies.words import Route

from .labelled import Given, Row

Method = Literal["confidence", "gain", "all"]

LEAST_CONFIDENCE = 1e-9
"""A threshold below it lies next to 0, which is what a failed check gives."""
GAIN_NEVER = 2.0
"""No difference of two probabilities: everything that is known goes to the cheap one."""
UNCERTIFIED = "no certified lock"


class Judged(NamedTuple):
    """What is known of one capture. None: not known."""

    id: str
    doubt: float | None
    """The greater the rather it goes on: minus the confidence of the first answer, or the gain."""
    first_wrong: int | None
    doubted_wrong: int | None
    """Whoever is asked in doubt."""
    reference_wrong: int | None
    is_labelled: bool = True


class Refused(NamedTuple):
    """Why nothing is promised."""

    route: str
    reason: str
    labels: int
    labels_needed: int | None


class Judge:
    """Holds captures of one route against what the route would do today."""

    def __init__(
        self,
        policy: Policy,
        route: Route,
        *,
        learned: Learned,
        fitted: Fitted = NOTHING_FITTED,
    ) -> None:
        """`policy` as it is written: no lock in force."""
        assert route.require.error is not None  # the caller chose routes that have one
        self.reference = route.require.error.reference
        self.doubted = in_doubt(route)
        self.route = route
        self.method = method_of(route, fitted)
        self.model = fitted.digest if uses_model(route, self.method, fitted) else ""
        self.left_out: Counter[str] = Counter()
        self._fitted = fitted
        self._policy = policy
        self._world = World(learned, certified=frozenset({route.name}))

    def judge(self, row: Row) -> Judged | None:
        """One capture; None where it is left out."""
        chances = self._fitted.acceptable(row.text, row.features.task) if self.model else {}
        chosen = self._chosen(row, chances)
        if chosen is None:
            self.left_out["refused by the route today"] += 1
            return None
        if row.first_backend != chosen and not self._was_sent_on(row):
            self.left_out["answered first by another backend than today's choice"] += 1
            return None
        if row.first is None:
            self.left_out["whose first call failed"] += 1
            return None
        is_own = row.first.backend == chosen
        wrong = {name: 1 - right for name, right in row.right.items()}
        reference = wrong.get(self.reference)
        is_labelled = row.is_even and bool(row.right) and not (self.model and row.is_fitted_on)
        if chosen == self.reference:
            return Judged(row.id, None, reference, reference, reference, is_labelled)
        return Judged(
            row.id,
            self._doubt(row.first if is_own else None, row, chances, chosen),
            wrong.get(chosen),
            wrong.get(self.doubted),
            reference,
            is_labelled,
        )

    def _chosen(self, row: Row, chances: Mapping[str, float]) -> str | None:
        match = self._policy.route_for(self.route.name, {})
        assert match is not None  # a route's own name gives that route
        made = decide(
            self._policy, match, row.features, self._world,
            decision_id=row.id, seed=0, acceptable=chances,
        )  # fmt: skip
        return max(made.candidates, key=lambda one: one.propensity).backend if made.chosen else None

    def _was_sent_on(self, row: Row) -> bool:
        """Whether a promise sent it to the reference at once; of the others nothing is known."""
        is_proved = not row.reason.startswith(UNCERTIFIED)
        return self.method == "gain" and row.first_backend == self.reference and is_proved

    def _doubt(
        self, first: Given | None, row: Row, chances: Mapping[str, float], chosen: str
    ) -> float | None:
        if self.method == "gain":
            sure, cheap = chances.get(self.reference), chances.get(chosen)
            return None if sure is None or cheap is None else sure - cheap
        if self.method == "all":
            return 0.0
        confidence = None if first is None else first.confidence
        if first is not None and self.model and confidence != 0.0:
            seen = Seen(row.text, first.text, confidence, first.logprob_mean, first.logprob_min)
            confidence = self._fitted.trust(first.backend, seen, row.features.task)
        return None if confidence is None else -confidence


def in_doubt(route: Route) -> str:
    """Who is asked where the first answer is not trusted."""
    assert route.require.error is not None
    return route.escalate.to[0] if route.escalate is not None else route.require.error.reference


def method_of(route: Route, fitted: Fitted) -> Method:
    """What the route can do with doubt."""
    if route.escalate is not None and route.confidence is not None:
        return "confidence"
    return "gain" if fitted.prompts is not None else "all"


def uses_model(route: Route, method: Method, fitted: Fitted) -> bool:
    """Whether fitted models have a say in what is proved."""
    if method == "confidence" and fitted.answers is not None:
        return True
    return fitted.prompts is not None and (method == "gain" or route.prefer == "surest")


def calibrate_route(
    route: Route,
    backends: Mapping[str, BackendFacts],
    rows: Sequence[Judged],
    *,
    now_us: int,
    method: Method = "confidence",
    model: str = "",
) -> RouteLock | Refused:
    """Certify the cheapest policy the labels prove. The route must have `require.error`."""
    limit = route.require.error
    assert limit is not None  # the caller chose routes that have one
    labelled = [row for row in rows if row.is_labelled]
    thresholds = _thresholds(route, method, rows)
    errors = _errors(labelled, thresholds)
    found = certify_counts(errors, len(labelled), limit=limit.max, delta=1 - limit.confidence)
    if found.index is None:
        reason = _refusal(route, labelled, errors, found.labels_needed)
        return Refused(route.name, reason, len(labelled), found.labels_needed)
    threshold = thresholds[found.index]
    return RouteLock(
        accept=None if method == "gain" else _accept(threshold),
        max=limit.max,
        confidence=limit.confidence,
        reference=limit.reference,
        labels=found.labels,
        errors=int(found.errors),
        bound=found.bound,
        policy=route_digest(route, backends),
        label_set=label_digest(labelled),
        model=model,
        made_us=now_us,
        gain=_gain(threshold) if method == "gain" else None,
    )


def silent_in_doubt(rows: Iterable[Judged]) -> tuple[int, int]:
    """How many labels say nothing of whom unsure answers go to, and how many there are."""
    labelled = [row for row in rows if row.is_labelled]
    return sum(row.doubted_wrong is None for row in labelled), len(labelled)


def label_digest(rows: Iterable[Judged]) -> str:
    """Digest of labels and what they say."""
    lines = sorted(
        f"{r.id} {r.doubt} {r.first_wrong} {r.doubted_wrong} {r.reference_wrong}" for r in rows
    )
    return blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()


def _thresholds(route: Route, method: Method, rows: Sequence[Judged]) -> tuple[float, ...]:
    """The row of policies as thresholds of doubt: below them the first answer is accepted."""
    rule = route.confidence
    if method == "all":
        return (-inf, inf)
    if method == "confidence" and rule is not None and not isinstance(rule.accept, str):
        return (-inf, nextafter(-rule.accept, inf))
    return thresholds_of([_score(row) for row in rows])


def _errors(rows: Sequence[Judged], thresholds: Sequence[float]) -> list[int]:
    """Errors of every policy; of the first, the reference's own."""
    counted = row_errors(
        [_score(row) for row in rows],
        thresholds,
        cheap_wrong=[_or_wrong(row.first_wrong) for row in rows],
        reference_wrong=[_or_wrong(row.doubted_wrong) for row in rows],
    )
    return [sum(_or_wrong(row.reference_wrong) for row in rows), *counted[1:]]


def _or_wrong(wrong: int | None) -> int:
    return 1 if wrong is None else wrong


def _score(row: Judged) -> float:
    """What is not known goes on."""
    return inf if row.doubt is None or row.doubt != row.doubt else row.doubt


def accepted_words(accept: float | None) -> str:
    """What a proved threshold means, for people."""
    if accept is None:
        return "the reference answers everything"
    if accept < LEAST_CONFIDENCE:
        return "answers are accepted unless their confidence is 0"
    return f"answers are accepted from confidence {accept:.3g} on"


def _accept(threshold: float) -> float | None:
    """A threshold of doubt as one of the confidence: accepted is what lies above it."""
    if threshold == -inf:
        return None
    return 0.0 if threshold == inf else max(0.0, nextafter(-threshold, inf))


def _gain(threshold: float) -> float | None:
    if threshold == -inf:
        return None
    return GAIN_NEVER if threshold == inf else threshold


def _refusal(
    route: Route, rows: Sequence[Judged], errors: Sequence[int], needed: int | None
) -> str:
    limit = route.require.error
    assert limit is not None
    if not rows:
        return "no answer of the route is labelled: run `pointsman label`"
    silent = sum(row.reference_wrong is None for row in rows)
    if silent > limit.max * len(rows):
        return (
            f"{silent} of {len(rows)} labels say nothing of the reference {limit.reference}:"
            " label with it as the teacher, or send it a shadow"
        )
    if needed is None:
        return (
            f"the reference {limit.reference} itself is wrong in {errors[0]} of {len(rows)} labels;"
            f" {limit.max:.4g} cannot be promised"
        )
    return f"{len(rows)} labels are too few: {max(0, needed - len(rows))} more are needed"
