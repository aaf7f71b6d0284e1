"""From rows of the store to what tests want of them: was it wrong, late, dear; whose was it.

An answer is wrong at once where its attempt failed, or where the route's checks, schema or second
opinion refused it (a confidence of 0). A label is compared by value, as agreement is. What cannot
be told is None and proves nothing.
"""

from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from policies.canary_run import clock_of, judges_answers
from policies.canary_trial import Seen
from policies.steps import HEDGE_LOST
from policies.values import agree
from policies.words import Route
from telemetry import queries
from telemetry.evidence import AnsweredRow, FeedbackRow, LabelRow

from .observing import TAUGHT_BY

UNTOLD: Final = (HEDGE_LOST, "client_gone")
"""Ends of an attempt that are not its backend's doing."""
VERDICTS: Final = ("thumb", "thumbs", "correct", "ok", "accepted")
"""Feedback whose number says right (above 0) or wrong."""
SHOWN: Final = ("shadow", "canary")
"""Sources of labels that are answers of backends of ours."""


def unit_of_row(row: AnsweredRow) -> int:
    """A number for the conversation of a request; for itself where it has none."""
    key = f"{row.caller or ''}\0{row.conversation or row.id}"
    return int.from_bytes(blake2b(key.encode("utf-8", "replace"), digest_size=6).digest(), "big")


def seen_of(row: AnsweredRow, route: Route) -> Seen:
    """A request as it bears on its side of a canary: what its client got, when, for how much."""
    clock, budget_s = clock_of(route), _budget_s(route)
    took_us = row.total_us if clock == "total" else row.first_byte_us
    return Seen(
        loss=_loss(row),
        is_judged=judges_answers(route) and (row.confidence is not None or _has_failed(row)),
        is_late=_is_late(took_us, budget_s, row.status),
        cost_usd=row.cost_usd,
    )


def shown_seen(label: LabelRow, route: Route) -> Seen:
    """What a canary answered to a copy."""
    has_failed = label.verdict is not None
    loss = 1.0 if has_failed or label.score == 0 else 0.0
    budget_s, took_us = _budget_s(route), label.total_us
    is_late = None
    if clock_of(route) == "total" and budget_s is not None:
        is_late = has_failed if took_us is None else took_us > budget_s * 1e6
    return Seen(
        loss=loss,
        is_judged=judges_answers(route) and (has_failed or label.score is not None),
        is_late=is_late,
        cost_usd=label.cost_usd,
    )


def first_seen(row: AnsweredRow, route: Route) -> Seen:
    """The answer a copy was made of: its first attempt alone, as the copy is one."""
    has_failed = row.first_error is not None
    is_judged = judges_answers(route) and (row.first_confidence is not None or has_failed)
    loss = None if row.first_error in UNTOLD else float(has_failed or row.first_confidence == 0)
    return Seen(loss=loss, is_judged=is_judged, cost_usd=row.first_cost_usd)


def label_loss(directory: Path, label: LabelRow) -> float | None:
    """How wrong, 0 to 1, a label says the answer is that the client received."""
    if label.agrees is not None and label.source in SHOWN:
        return float(not label.agrees)
    if label.source in ("rule", "judge"):
        return None if label.score is None else min(1.0, max(0.0, 1.0 - label.score))
    if label.output is None or label.verdict is not None:
        return None
    served = served_text(directory, label.request_id)
    return None if served is None else loss_between(served, text_in(label.output))


def shown_loss(shown: LabelRow, label: LabelRow) -> float | None:
    """How wrong a label says the answer to a copy is."""
    if shown.verdict is not None:
        return 1.0
    if shown.output is None or label.output is None or label.verdict is not None:
        return None
    return loss_between(text_in(shown.output), text_in(label.output))


def feedback_loss(said: FeedbackRow) -> float | None:
    """How wrong somebody says an answer is."""
    if said.name not in VERDICTS or said.number is None or said.number != said.number:
        return None
    return float(said.number <= 0)


def loss_between(one: str, other: str) -> float | None:
    """0 where two answers have the same value, 1 where they do not."""
    same = agree(one, other)
    return None if same is None else float(not same)


def served_text(directory: Path, request_id: str) -> str | None:
    """What the client was answered, as text."""
    capture = queries.capture(directory, request_id)
    if capture is None or not isinstance(capture.get("response"), str):
        return None
    endpoint = TAUGHT_BY.get(str(capture["api"]))
    if endpoint is None:
        return None
    body = str(capture["response"]).encode("utf-8", "surrogatepass")
    reader = endpoint.make_reader(1, True)
    if capture["stream"]:
        reader.read_events(body)
    else:
        reader.read_whole(body)
    return reader.text


def text_in(output: bytes) -> str:
    """A label's output as text: of an assistant message its content."""
    try:
        value: Any = msgspec.json.decode(output)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return output.decode("utf-8", "replace")
    if isinstance(value, dict) and value.get("role") == "assistant":
        content = value.get("content")
        return content if isinstance(content, str) else ""
    return output.decode("utf-8", "replace")


def _budget_s(route: Route) -> float | None:
    return None if route.canary is None else route.canary.keep_if.latency_s


def _loss(row: AnsweredRow) -> float | None:
    """A first attempt that failed is an error though another backend helped out; an answer in
    doubt that was escalated is as good as the one that was served, and dearer, and later."""
    if _has_failed(row):
        return 1.0
    return float(row.confidence == 0) if row.status == "ok" else None


def _has_failed(row: AnsweredRow) -> bool:
    if row.first_error is not None and row.first_error not in UNTOLD:
        return True
    return row.status not in ("ok", "client_gone")


def _is_late(took_us: int | None, budget_s: float | None, status: str) -> bool | None:
    """A request without a whole answer is late, but for one whose client left in time."""
    if budget_s is None:
        return None
    if status == "ok":
        return None if took_us is None else took_us > budget_s * 1e6
    if status == "client_gone":
        return True if took_us is not None and took_us > budget_s * 1e6 else None
    return True
