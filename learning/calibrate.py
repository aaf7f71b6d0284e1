"""`require.error` from labelled captures: the least sure answers that may still be accepted.

The row of policies is fixed before a label is read: thresholds at every percent of the confidences
of all captures, labelled or not, from "the reference answers everything" to "every answer is
accepted" (policies/promise.py). A label that says nothing of what a policy would have answered
counts as wrong there: unknown is never right. Only labels of people and teachers count; feedback
of apps is no even sample.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from itertools import islice
from math import inf, nextafter
from pathlib import Path
from typing import Any, NamedTuple

from policies.facts import BackendFacts
from policies.lock import RouteLock, route_digest
from policies.promise import certify_counts, row_errors, thresholds_of
from policies.words import Route
from telemetry.queries import captures

from .answer_match import answer_text, canonical
from .assemble import assemble
from .backtest import LABELLED_BY, PAGE
from .captured import Captured, captured_by_id
from .label_store import TEACHERS, Labels, Verdict

CAPTURES_MAX = 200_000
"""The newest are read."""


class Judged(NamedTuple):
    """What is known of one capture. None: not known."""

    id: str
    confidence: float | None
    """Of the first answer."""
    first_wrong: int | None
    reference_wrong: int | None
    is_labelled: bool = True


class Refused(NamedTuple):
    """Why nothing is promised."""

    route: str
    reason: str
    labels: int
    labels_needed: int | None


def calibrate_route(
    route: Route, backends: Mapping[str, BackendFacts], rows: Sequence[Judged], *, now_us: int
) -> RouteLock | Refused:
    """Certify the cheapest policy the labels prove. The route must have `require.error`."""
    limit = route.require.error
    assert limit is not None  # the caller chose routes that have one
    labelled = [row for row in rows if row.is_labelled]
    scores = [_score(row) for row in rows]
    row_of_policies = thresholds_of(scores)
    errors = row_errors(
        [_score(row) for row in labelled],
        row_of_policies,
        cheap_wrong=[1 if row.first_wrong is None else row.first_wrong for row in labelled],
        reference_wrong=[
            1 if row.reference_wrong is None else row.reference_wrong for row in labelled
        ],
    )
    found = certify_counts(errors, len(labelled), limit=limit.max, delta=1 - limit.confidence)
    if found.index is None:
        reason = _refusal(labelled, limit.max, limit.reference, errors[0], found.labels_needed)
        return Refused(route.name, reason, len(labelled), found.labels_needed)
    return RouteLock(
        accept=_accept(row_of_policies[found.index]),
        max=limit.max,
        confidence=limit.confidence,
        reference=limit.reference,
        labels=found.labels,
        errors=int(found.errors),
        bound=found.bound,
        policy=route_digest(route, backends),
        label_set=label_digest(labelled),
        made_us=now_us,
    )


def label_digest(rows: Iterable[Judged]) -> str:
    """Digest of labels and what they say."""
    lines = sorted(f"{r.id} {r.confidence} {r.first_wrong} {r.reference_wrong}" for r in rows)
    return blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()


def read_judged(
    directory: Path, route: Route, models: Sequence[str], *, since_us: int | None = None
) -> Iterator[Judged]:
    """What is kept of a route's answers, with their labels. `models` name the reference."""
    limit = route.require.error
    assert limit is not None
    found = captures(directory, since_us=since_us, route=route.name, limit=CAPTURES_MAX)
    with closing(Labels(directory)) as labels:
        while page := list(islice(found, PAGE)):
            by_id = {one.id: one for one in captured_by_id(directory, [str(c["id"]) for c in page])}
            verdicts = labels.verdicts([(one.id, one.input_hash) for one in by_id.values()])
            for capture in page:
                identifier = str(capture["id"])
                stored = by_id.get(identifier)
                if stored is not None and capture.get("complete"):
                    yield judge_capture(
                        capture, stored, verdicts.get(identifier), limit.reference, models
                    )


def judge_capture(
    capture: Mapping[str, Any],
    stored: Captured,
    verdict: Verdict | None,
    reference: str,
    models: Sequence[str],
) -> Judged:
    """What a capture and its label say of the first answer and of the reference's."""
    attempts = capture.get("attempts") or []
    first = next((one for one in attempts if one["kind"] == "primary"), None)
    confidence = first["confidence"] if first is not None else None
    identifier = str(capture["id"])
    if verdict is None or verdict.source not in LABELLED_BY or stored.response is None:
        return Judged(identifier, confidence, None, None, is_labelled=False)
    answer = assemble(stored.response)
    said = None if answer is None else canonical(answer_text(answer.message))
    wrong = int(said != canonical(verdict.text))
    is_first = first is not None and first["backend"] == stored.backend
    is_reference = stored.backend == reference
    is_teacher = verdict.source in TEACHERS and _is_one_of(verdict.model or "", models)
    return Judged(
        identifier,
        confidence,
        wrong if is_first else None,
        wrong if is_reference else 0 if is_teacher else None,
    )


def _is_one_of(model: str, models: Sequence[str]) -> bool:
    """A model by its name, or by the dated name with which it answers."""
    return any(model == name or model.startswith(f"{name}-") for name in models)


def _score(row: Judged) -> float:
    """What the reference gains, as far as the order goes; unknown confidence goes to it."""
    confidence = row.confidence
    return inf if confidence is None or confidence != confidence else -confidence


def _accept(threshold: float) -> float | None:
    """A threshold of the score as one of the confidence: accepted is what lies above it."""
    if threshold == -inf:
        return None
    return 0.0 if threshold == inf else nextafter(-threshold, inf)


def _refusal(
    rows: Sequence[Judged], limit: float, reference: str, errors: int, needed: int | None
) -> str:
    silent = sum(row.reference_wrong is None for row in rows)
    if not rows:
        return "no answer of the route is labelled: run `pointsman label`"
    if silent > limit * len(rows):
        return (
            f"{silent} of {len(rows)} labels say nothing of the reference {reference}:"
            " label with it as the teacher, or send it a shadow"
        )
    if needed is None:
        return (
            f"the reference {reference} itself is wrong in {errors} of {len(rows)} labels;"
            f" {limit:.4g} cannot be promised"
        )
    return f"{len(rows)} labels are too few: {max(0, needed - len(rows))} more are needed"
