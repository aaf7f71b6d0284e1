"""A folder with a canary's configuration, and rows of the store as its traffic leaves them."""

import time
from pathlib import Path
from typing import Any

import msgspec

from policies.canary_run import CanaryRun
from proxy import canaries, promises
from proxy.configuration import Configuration, parse_configuration
from proxy.trials_file import Trials
from telemetry.evidence import news_since
from telemetry.fold import Folder
from telemetry.ids import new_id
from telemetry.learning_store import LearningBatch, LearningStore, Progress, feedback_row, label_row
from telemetry.record import FeedbackRecord, LabelRecord, RequestRecord
from tests.support.records import make_attempt, make_record, write_journal

TEXT = """\
backends:
  old: {adapter: simulated, price: {input: 10, output: 20}}
  new: {adapter: simulated, price: {input: 5, output: 10}}
  gpt-4: {adapter: simulated}
checks: {amount: {at: /payoff, in_prompt: true}}
routes:
  extract:
    candidates: [old]
    checks: [amount]
    canary:
      {backend: new, replaces: old, stages: [STAGES], keep_if: {error: +20pp}, min_samples: 30}
  default: {candidates: [gpt-4]}
"""


def configured(stages: str = "shadow, 10%", text: str = TEXT) -> Configuration:
    return parse_configuration(text.replace("STAGES", stages), file=Path("c.yaml"))


def begun(configuration: Configuration) -> Trials:
    """As a keeper's first look finds it."""
    return canaries.follow(configuration, Trials(), now_us=now_us())


def row(*, decided: str = "old", confidence: float | None = 1.0, **changes: Any) -> RequestRecord:
    """An answered request of the route, a conversation of its own."""
    identifier = new_id()
    attempt = make_attempt(decided, confidence=confidence, cost_usd=0.001)
    plain = make_record(
        id=identifier, ts_us=now_us(), decided=decided, backend=decided, conversation=identifier,
        confidence=confidence, attempts=(attempt,), cost_usd=0.001,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def copy_of(record: RequestRecord, **changes: Any) -> LabelRecord:
    """What the canary answered to a copy of it."""
    plain = LabelRecord(
        id=new_id(), request_id=record.id, input_hash=b"", source="canary", ts_us=now_us(),
        score=1.0, output=b"1250.10", cost_usd=0.0005, route="extract", backend="new",
        total_us=90_000, agrees=True,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def fold_in(
    directory: Path,
    records: list[RequestRecord] | None = None,
    *,
    labels: list[LabelRecord] | None = None,
    feedback: list[FeedbackRecord] | None = None,
) -> None:
    """Into the store, as a keeper's fold does it."""
    write_journal(directory, records or [])
    folder = Folder(directory)
    folder.fold_all()
    folder.close()
    store = LearningStore(directory)
    batch = LearningBatch(
        labels=[label_row(one) for one in labels or []],
        feedback=[feedback_row(one) for one in feedback or []],
    )
    store.write(batch, segment="s", node="n", worker=0, progress=Progress())
    store.close()


def looked(directory: Path, configuration: Configuration, trials: Trials) -> Trials:
    """After one look at what is new."""
    news = news_since(directory, trials.cursor, {*trials.runs, *trials.watches})
    trials = canaries.feed(directory, news, configuration, trials, now_us=now_us())
    return promises.feed(directory, news, trials)


def run_of(trials: Trials) -> CanaryRun:
    return trials.runs["extract"]


def now_us() -> int:
    return time.time_ns() // 1000
