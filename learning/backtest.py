"""Captured traffic against another policy: what would have moved, and what it would have come to.

Each capture is decided again by the new policy, with what is learned now, and held against what
the log took and with which probability (learning/off_policy.py). Cost and time are measured on
the rows that match; errors count where a person or a teacher has labelled the answer. What follows
a choice (confidence, escalation) is taken as it was logged.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from policies.choice import World
from policies.decide import decide
from policies.decision import Decision
from policies.features import parse_chat, prompt_text, read_features
from policies.fitted import NOTHING_FITTED, PROMPT_BYTES_MAX, Fitted
from policies.learned import Learned
from policies.policy import Policy
from policies.request import RequestError
from telemetry.queries import captures

from .answer_match import answer_text, canonical
from .assemble import assemble
from .captured import Captured, captured_by_id
from .label_store import Labels
from .off_policy import Finding, Row, judge_policy

PAGE = 200
ROWS_MAX = 200_000
"""The newest captures are replayed; 1 KB each while they are."""
MATTERS = ("cost_usd", "total_s", "error")
LABELLED_BY = ("human", "teacher", "shadow")
"""Feedback of apps is no even sample: who is content says nothing."""


class Replayed(NamedTuple):
    """One capture as both policies see it."""

    old: str
    new: str
    reason: str
    """Why the new policy chooses as it does."""
    odds: Mapping[str, float]
    """Of the log, by backend."""
    new_odds: Mapping[str, float]
    taken: str
    values: Mapping[str, float | None]
    conversation: str


class _Judge(NamedTuple):
    """What decides again."""

    policy: Policy
    world: World
    fitted: Fitted


class Move(NamedTuple):
    """Requests that would go elsewhere."""

    old: str
    new: str
    requests: int
    reason: str
    """The commonest reason of the new policy."""


class Backtest(NamedTuple):
    """What the log says of the new policy."""

    findings: dict[str, Finding]
    """By matter: `cost_usd`, `total_s`, `error`."""
    rows: int
    moves: list[Move]
    skipped: dict[str, int]
    """Captures left out, by reason."""


def backtest(
    directory: Path,
    policy: Policy,
    learned: Learned,
    *,
    since_us: int | None = None,
    route: str | None = None,
    certified: frozenset[str] = frozenset(),
    fitted: Fitted = NOTHING_FITTED,
) -> Backtest:
    """Replay what is kept in `directory`. Reads only. `certified` are the routes of `policy` whose
    promise is proved, `fitted` what it decides by of each request's words."""
    skipped: Counter[str] = Counter()
    judge = _Judge(policy, World(learned, certified=certified), fitted)
    rows = list(_replay(directory, judge, skipped, since_us=since_us, route=route))
    return Backtest(
        {matter: judge_policy(_rows(rows, matter)) for matter in MATTERS},
        len(rows),
        _moves(rows),
        dict(sorted(skipped.items())),
    )


def _replay(
    directory: Path,
    judge: _Judge,
    skipped: Counter[str],
    *,
    since_us: int | None,
    route: str | None,
) -> Iterator[Replayed]:
    found = captures(directory, since_us=since_us, route=route, candidates=True, limit=ROWS_MAX)
    with closing(Labels(directory)) as labels:
        while page := list(islice(found, PAGE)):
            by_id = {one.id: one for one in captured_by_id(directory, [str(c["id"]) for c in page])}
            verdicts = labels.verdicts([(one.id, one.input_hash) for one in by_id.values()])
            for capture in page:
                stored = by_id.get(str(capture["id"]))
                verdict = verdicts.get(str(capture["id"]))
                right = verdict.text if verdict and verdict.source in LABELLED_BY else None
                row = _decide_again(capture, stored, right, judge)
                if isinstance(row, Replayed):
                    yield row
                else:
                    skipped[row] += 1


def _decide_again(
    capture: Mapping[str, Any],
    stored: Captured | None,
    right: str | None,
    judge: _Judge,
) -> Replayed | str:
    """The row, or why there is none."""
    odds = {c["backend"]: c["propensity"] or 0.0 for c in capture.get("decision") or ()}
    taken = capture.get("decided")
    if not taken or not odds.get(taken):
        return "no decision kept"
    if stored is None or stored.request is None or stored.api != "chat":
        return "no chat request kept"
    new = decide_capture(capture, stored, judge)
    if new is None or new.chosen is None:
        return "not answered by the new policy"
    new_odds = {c.backend: c.propensity for c in new.candidates}
    total_ms = capture.get("total_ms")
    return Replayed(
        max(odds, key=lambda name: odds[name]),
        max(new_odds, key=lambda name: new_odds[name]),
        new.reason,
        odds,
        new_odds,
        taken,
        {
            "cost_usd": capture.get("cost_usd"),
            "total_s": None if total_ms is None else total_ms / 1000,
            "error": _error(stored, right),
        },
        str(capture.get("conversation") or ""),
    )


def decide_capture(capture: Mapping[str, Any], stored: Captured, judge: _Judge) -> Decision | None:
    """What the policy would decide for a captured request; None where it would not take it."""
    try:
        request = parse_chat(stored.request or b"")
    except RequestError:
        return None
    features = read_features(
        request,
        body_bytes=len(stored.request or b""),
        label_headers=capture.get("labels") or {},
        conversation_header=stored.conversation,
        caller=stored.caller,
    )
    match = judge.policy.route_for(features.model, features.labels)
    if match is None:
        return None
    chances = None
    if match.compiled.weighs_chances:
        text = "" if features.prompt_bytes > PROMPT_BYTES_MAX else prompt_text(request)
        chances = judge.fitted.acceptable(text, features.task)
    return decide(
        judge.policy, match, features, judge.world,
        decision_id=stored.id, seed=0, acceptable=chances,
    )  # fmt: skip  # the seed says who is drawn, and the odds count


def _error(stored: Captured, right: str | None) -> float | None:
    if right is None or stored.response is None:
        return None
    answer = assemble(stored.response)
    if answer is None:
        return 1.0
    return float(canonical(answer_text(answer.message)) != canonical(right))


def _rows(replayed: Iterable[Replayed], matter: str) -> Iterator[Row]:
    """With a guess per backend: the mean of the other rows there, else of all."""
    rows = [(row, row.values[matter]) for row in replayed]
    sums: dict[str, float] = {}
    counts: Counter[str] = Counter()
    for row, value in rows:
        if value is not None:
            sums[row.taken] = sums.get(row.taken, 0.0) + value
            counts[row.taken] += 1
    everywhere = sum(sums.values()) / max(1, counts.total())
    for row, value in rows:
        if value is None:
            continue
        guess = {name: sums[name] / counts[name] for name in sums}
        if counts[row.taken] > 1:
            guess[row.taken] = (sums[row.taken] - value) / (counts[row.taken] - 1)
        yield Row(
            value,
            row.odds[row.taken],
            row.new_odds.get(row.taken, 0.0),
            row.old != row.new,
            guess.get(row.taken, everywhere),
            sum(odd * guess.get(name, everywhere) for name, odd in row.new_odds.items()),
            row.conversation if len(row.odds) > 1 else "",
            all(row.odds.get(name) for name, odd in row.new_odds.items() if odd),
        )


def _moves(rows: Iterable[Replayed]) -> list[Move]:
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        if row.old != row.new:
            reasons.setdefault((row.old, row.new), Counter())[row.reason] += 1
    moves = [
        Move(old, new, found.total(), found.most_common(1)[0][0])
        for (old, new), found in reasons.items()
    ]
    return sorted(moves, key=lambda move: -move.requests)
