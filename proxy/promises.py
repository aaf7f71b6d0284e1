"""Promises under watch: what came in is held against each, and what is refuted is withdrawn.

Pure but for the labels it reads. A watch belongs to a proof, not to a route: a new lock begins a
new one. Where a proof is refuted, the one before it counts again (policies/lock.py), if it holds
and was not refuted itself; else the reference answers, until `pointsman calibrate` proves anew.
"""

from collections.abc import Iterator, Mapping
from math import log
from pathlib import Path

import msgspec

from policies.lock import RouteLock
from policies.monitor import (
    PromiseWatch,
    saw_answer,
    saw_complaint,
    saw_label,
    watch_promise,
)
from telemetry.evidence import AnsweredRow, News, answered, is_first_complaint

from .configuration import Configuration
from .evidence import VERDICTS, feedback_loss, label_loss
from .locked import in_force
from .trials_file import Trials, proof_id, suspended_in, without_former

REFUTED_MAX = 8
"""Proofs of a route that are remembered as refuted; a lock holds two."""


def certified_now(configuration: Configuration, trials: Trials) -> dict[str, RouteLock]:
    """The promises in force in the workers, by route."""
    suspended = suspended_in(configuration.lock, trials.refuted)
    lost = without_former(configuration.lock, trials.refuted)
    return in_force(configuration, suspended, without_former=lost).promises.certified


def follow(configuration: Configuration, trials: Trials, *, now_us: int) -> Trials:
    """With a watch over every promise in force and no other."""
    certified = certified_now(configuration, trials)
    return msgspec.structs.replace(
        trials,
        watches={
            route: _watch(route, proof, trials.watches.get(route), now_us)
            for route, proof in certified.items()
        },
    )


def _watch(route: str, proof: RouteLock, known: PromiseWatch | None, now_us: int) -> PromiseWatch:
    name = proof_id(proof)
    if known is not None and known.proof == name:
        return known
    delta = 1.0 - proof.confidence
    return watch_promise(route, proof=name, limit=proof.max, delta=delta, since_us=now_us)


def feed(directory: Path, news: News, trials: Trials) -> Trials:
    """The watches after what came in."""
    found = dict(trials.watches)
    for row in news.answers:
        watch = found.get(row.route)
        if watch is not None and row.status == "ok" and row.ts_us >= watch.since_us:
            failed = None if row.confidence is None else row.confidence == 0
            found[row.route] = saw_answer(watch, failed_check=failed)
    for row, loss in _labelled(directory, news, found):
        found[row.route] = saw_label(found[row.route], loss)
    for row in _complained(directory, news, found):
        found[row.route] = saw_complaint(found[row.route])
    return msgspec.structs.replace(trials, watches=found, cursor=news.cursor)


def refute(trials: Trials) -> tuple[Trials, dict[str, str]]:
    """What the watches say now: the state with broken promises withdrawn, and why, by route."""
    broken = {}
    refuted = dict(trials.refuted)
    for route, watch in trials.watches.items():
        found = watch.broken
        if found is not None and watch.proof not in refuted.get(route, {}):
            name, monitor = found
            mean = monitor.wealth.mean or 0.0
            broken[route] = (
                f"refuted by {name}: {mean:.1%} of {monitor.wealth.count} are wrong,"
                f" {monitor.limit:.4g} was promised"
            )
            known = {**refuted.get(route, {}), watch.proof: broken[route]}
            refuted[route] = dict(list(known.items())[-REFUTED_MAX:])
    return msgspec.structs.replace(trials, refuted=refuted), broken


def _labelled(
    directory: Path, news: News, watches: Mapping[str, PromiseWatch]
) -> Iterator[tuple[AnsweredRow, float]]:
    if not watches:
        return
    for label in news.labels:
        if label.source == "canary":
            continue
        row = answered(directory, label.request_id)
        if row is not None and _is_watched(row, watches):
            loss = label_loss(directory, label)
            if loss is not None:
                yield row, loss


def _complained(
    directory: Path, news: News, watches: Mapping[str, PromiseWatch]
) -> Iterator[AnsweredRow]:
    """Requests somebody found wrong, each once: saying it again tells nothing."""
    for said in news.feedback if watches else ():
        if feedback_loss(said) != 1.0 or not is_first_complaint(directory, said, VERDICTS):
            continue
        row = answered(directory, said.request_id)
        if row is not None and _is_watched(row, watches):
            yield row


def _is_watched(row: AnsweredRow, watches: Mapping[str, PromiseWatch]) -> bool:
    watch = watches.get(row.route)
    return watch is not None and row.ts_us >= watch.since_us


def describe(configuration: Configuration, trials: Trials) -> dict[str, object]:
    """Every promise under watch or withdrawn, as JSON data."""
    found: dict[str, object] = {}
    for route, watch in trials.watches.items():
        monitors = {"labels": watch.labels, "checks": watch.checks, "complaints": watch.complaints}
        found[route] = {
            "proof": watch.proof,
            "limit": watch.labels.limit,
            "refuted": suspended_in(configuration.lock, trials.refuted).get(route),
            "watched_by": {
                name: {
                    "count": one.wealth.count,
                    "observed": one.wealth.mean,
                    "log_e": round(one.wealth.log_capital, 3),
                    "alarm_at": round(-log(one.delta), 3),
                }
                for name, one in monitors.items()
            },
        }
    for route, reason in suspended_in(configuration.lock, trials.refuted).items():
        found.setdefault(route, {"refuted": reason})
    return found
