"""From rows to what tests want of them: wrong, late, dear, or not known."""

from pathlib import Path

import msgspec
import pytest

from policies.canary_trial import Seen
from policies.words import Canary, Check, ConfidenceRule, KeepIf, LatencyLimit, Require, Route
from proxy.evidence import (
    feedback_loss,
    first_seen,
    label_loss,
    seen_of,
    served_text,
    shown_loss,
    shown_seen,
    text_in,
    unit_of_row,
)
from telemetry.evidence import AnsweredRow, FeedbackRow, LabelRow, answered
from tests.support.records import keep, make_record

CANARY = Canary(
    "new", "old", ("shadow", 1.0), KeepIf(latency_quantile=0.95, latency_s=0.2), 10, "hold"
)
ROUTE = Route(
    name="extract", candidates=("old",), canary=CANARY, checks=(Check("a"),),
    confidence=ConfidenceRule(signals=("checks",)),
)  # fmt: skip
ROW = AnsweredRow(
    seq=1, id="i", ts_us=5, route="extract", decided="old", backend="old", canary=None,
    caller=None, conversation="c", status="ok", total_us=100_000, first_byte_us=50_000,
    cost_usd=0.002, confidence=1.0, first_error=None, first_confidence=1.0, first_us=90_000,
    first_cost_usd=0.001,
)  # fmt: skip
LABEL = LabelRow(
    rowid=1, request_id="i", source="canary", score=1.0, verdict=None, output=b'"7"',
    cost_usd=0.003, route="extract", backend="new", total_us=100_000, agrees=True,
)  # fmt: skip


def test_a_right_answer_in_time() -> None:
    assert seen_of(ROW, ROUTE) == Seen(0.0, True, False, 0.002)
    assert first_seen(ROW, ROUTE) == Seen(0.0, True, None, 0.001)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"confidence": 0.0}, Seen(1.0, True, False, 0.002)),
        ({"first_confidence": 0.0, "backend": "gpt-4"}, Seen(0.0, True, False, 0.002)),
        ({"first_error": "timeout", "first_confidence": None}, Seen(1.0, True, False, 0.002)),
        ({"first_error": "hedge_lost"}, Seen(0.0, True, False, 0.002)),
        ({"confidence": None}, Seen(0.0, False, False, 0.002)),
        ({"total_us": 200_001}, Seen(0.0, True, True, 0.002)),
        ({"total_us": None}, Seen(0.0, True, None, 0.002)),
        ({"status": "error"}, Seen(1.0, True, True, 0.002)),
        ({"status": "client_gone"}, Seen(None, True, None, 0.002)),
        ({"status": "client_gone", "total_us": 300_000}, Seen(None, True, True, 0.002)),
    ],
)
def test_what_an_answer_tells(change: dict[str, object], seen: Seen) -> None:
    assert seen_of(ROW._replace(**change), ROUTE) == seen


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"first_confidence": 0.0, "confidence": 1.0}, Seen(1.0, True, None, 0.001)),
        ({"first_error": "timeout", "first_confidence": None}, Seen(1.0, True, None, 0.001)),
        ({"first_error": "hedge_lost"}, Seen(None, True, None, 0.001)),
        ({"first_confidence": None}, Seen(0.0, False, None, 0.001)),
    ],
)
def test_what_a_copy_is_held_against(change: dict[str, object], seen: Seen) -> None:
    assert first_seen(ROW._replace(**change), ROUTE) == seen


def test_the_routes_own_clock_counts() -> None:
    limit = LatencyLimit(0.9, 0.2, "first_token")
    route = msgspec.structs.replace(ROUTE, require=Require(limit))
    slow = ROW._replace(first_byte_us=300_000)
    assert seen_of(slow, route).is_late is True
    assert seen_of(slow, ROUTE).is_late is False
    assert shown_seen(LABEL, route).is_late is None  # a copy is not streamed


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({}, Seen(0.0, True, False, 0.003)),
        ({"score": 0.0}, Seen(1.0, True, False, 0.003)),
        ({"score": None}, Seen(0.0, False, False, 0.003)),
        ({"verdict": "timeout", "score": None, "total_us": None}, Seen(1.0, True, True, 0.003)),
        ({"total_us": 900_000}, Seen(0.0, True, True, 0.003)),
    ],
)
def test_what_a_copy_tells(change: dict[str, object], seen: Seen) -> None:
    assert shown_seen(LABEL._replace(**change), ROUTE) == seen


def test_a_conversation_is_one_unit() -> None:
    assert unit_of_row(ROW) == unit_of_row(ROW._replace(id="other"))
    assert unit_of_row(ROW) != unit_of_row(ROW._replace(caller="k"))
    alone = ROW._replace(conversation=None)
    assert unit_of_row(alone) != unit_of_row(alone._replace(id="other"))


def test_a_label_is_compared_by_value_with_what_was_served(tmp_path: Path) -> None:
    record = make_record()
    keep(tmp_path, [record])
    assert served_text(tmp_path, record.id) == "1250.10"
    teacher = LABEL._replace(request_id=record.id, source="teacher", agrees=None, backend=None)
    same = teacher._replace(output=b'{"role":"assistant","content":"1,250.1"}')
    assert label_loss(tmp_path, same) == 0.0
    assert label_loss(tmp_path, teacher._replace(output=b"1250.2")) == 1.0
    assert label_loss(tmp_path, teacher._replace(output=None)) is None
    assert label_loss(tmp_path, teacher._replace(verdict="refusal")) is None
    assert label_loss(tmp_path, teacher._replace(request_id="unknown")) is None
    assert answered(tmp_path, record.id) is not None


@pytest.mark.parametrize(
    ("change", "loss"),
    [
        ({"source": "shadow", "agrees": True}, 0.0),
        ({"source": "shadow", "agrees": False}, 1.0),
        ({"source": "judge", "agrees": None, "score": 0.25}, 0.75),
        ({"source": "rule", "agrees": None, "score": None}, None),
    ],
)
def test_labels_that_say_it_themselves(
    tmp_path: Path, change: dict[str, object], loss: float | None
) -> None:
    assert label_loss(tmp_path, LABEL._replace(**change)) == loss


def test_a_copy_is_held_against_the_label_of_its_request() -> None:
    teacher = LABEL._replace(source="teacher", output=b"7.0")
    assert shown_loss(LABEL._replace(output=b"7"), teacher) == 0.0
    assert shown_loss(LABEL._replace(output=b"8"), teacher) == 1.0
    assert shown_loss(LABEL._replace(verdict="timeout", output=None), teacher) == 1.0
    assert shown_loss(LABEL._replace(output=None), teacher) is None


@pytest.mark.parametrize(
    ("name", "number", "loss"),
    [("thumb", 0, 1.0), ("correct", 1, 0.0), ("thumb", None, None), ("rating", 1, None),
     ("ok", float("nan"), None)],
)  # fmt: skip
def test_feedback_says_right_or_wrong(name: str, number: float | None, loss: float | None) -> None:
    assert feedback_loss(FeedbackRow(1, "i", name, number)) == loss


@pytest.mark.parametrize(
    ("output", "text"),
    [(b'{"role":"assistant","content":"a"}', "a"), (b'{"v":1}', '{"v":1}'), (b"\xff", "\ufffd"),
     (b'{"role":"assistant"}', "")],
)  # fmt: skip
def test_a_labels_text(output: bytes, text: str) -> None:
    assert text_in(output) == text
