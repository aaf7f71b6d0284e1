from contextlib import closing

import msgspec
import pytest

from learning.label_store import Labels, choose, count_labelled, read_message
from learning.ledger import Ledger
from telemetry.learning_store import LABEL_COLUMNS, feedback_row, label_row
from telemetry.record import FeedbackRecord, LabelRecord

HASH = b"h" * 16


def label(identifier, output, source="teacher", **changes):
    data = output if isinstance(output, bytes) or output is None else message(output)
    base = LabelRecord(identifier, "r", HASH, source, 1, model="t", prompt_hash="p", output=data)
    return msgspec.structs.replace(base, **changes)


def message(text):
    return msgspec.json.encode({"role": "assistant", "content": text})


def told(request="r", name="better", text="told", number=None):
    return FeedbackRecord(
        f"f-{request}-{name}", request, 2, name, number,
        demonstration=message(text) if text else None,
    )  # fmt: skip


FEEDBACK_COLUMNS = "id, request_id, ts_us, name, num, text, demonstration, source, tags"


def keep(directory, *items):
    with Ledger(directory) as ledger:
        for item in items:
            if isinstance(item, LabelRecord):
                table, columns, row = "labels", ", ".join(LABEL_COLUMNS), label_row(item)
            else:
                table, columns, row = "feedback", FEEDBACK_COLUMNS, feedback_row(item)[:9]
            marks = ",".join("?" * len(row))
            ledger.run(f"insert into {table}({columns}) values ({marks})", row)


def verdict(directory, request="r", digest=HASH):
    with closing(Labels(directory)) as labels:
        return labels.verdicts([(request, digest)]).get(request)


def test_a_person_counts_before_an_app_before_a_teacher(tmp_path):
    keep(tmp_path, label("1", "teacher"))
    assert verdict(tmp_path).text == "teacher"
    keep(tmp_path, told())
    assert (verdict(tmp_path).text, verdict(tmp_path).source) == ("told", "feedback")
    keep(tmp_path, label("2", "person", "human"))
    assert (verdict(tmp_path).text, verdict(tmp_path).source) == ("person", "human")


def test_a_reference_shown_requests_is_a_teacher_whose_sampling_is_known(tmp_path):
    keep(tmp_path, label("1", "7", "shadow", probability=0.02))
    found = verdict(tmp_path)
    assert (found.text, found.source, found.probability) == ("7", "shadow", 0.02)


def test_a_newcomer_is_no_teacher(tmp_path):
    keep(tmp_path, label("1", "7", "canary", probability=0.02))
    assert verdict(tmp_path) is None


def test_the_newest_word_of_people_counts(tmp_path):
    keep(tmp_path, label("1", "a", "human"), label("2", "b", "human", ts_us=5))
    assert verdict(tmp_path).text == "b"


def test_a_superseded_label_is_void(tmp_path):
    keep(tmp_path, label("1", "a", "human"), label("2", None, "human", supersedes="1"))
    assert verdict(tmp_path) is None


def test_most_samples_of_the_last_teacher_decide(tmp_path):
    keep(
        tmp_path,
        label("0", "old", model="old"),
        *(label(str(n), text, ts_us=2, sample_no=n) for n, text in enumerate(("7", "8", "7.0"), 1)),
    )
    found = verdict(tmp_path)
    assert (found.text, found.samples, found.label_id) == ("7", 3, "1")
    assert found.agreement == pytest.approx(2 / 3)


def test_a_failed_check_lowers_the_agreement(tmp_path):
    keep(tmp_path, label("1", "7", score=0.0))
    assert verdict(tmp_path).agreement == 0.0


def test_a_label_counts_for_every_capture_that_asked_the_same(tmp_path):
    keep(tmp_path, label("1", "7"))
    assert verdict(tmp_path, request="another").text == "7"
    assert verdict(tmp_path, request="another", digest=b"x" * 16) is None
    assert verdict(tmp_path, request="another", digest=None) is None
    assert count_labelled(tmp_path, [(str(n), HASH) for n in range(1200)]) == 1200


def test_feedback_against_an_answer(tmp_path):
    keep(tmp_path, told(name="thumb", text=None, number=0.0), told("s", "thumb", None, 1.0))
    with closing(Labels(tmp_path)) as labels:
        assert labels.disliked(["r", "s", "t"]) == {"r"}


def test_without_a_store_there_are_no_labels(tmp_path):
    with closing(Labels(tmp_path)) as labels:
        assert labels.is_empty
        assert labels.verdicts([("r", HASH)]) == {}
        assert labels.disliked(["r"]) == set()
    assert count_labelled(tmp_path, [("r", HASH)]) == 0
    assert choose([]) is None


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b'{"role":"assistant","content":"x"}', "x"),
        (b'"x"', "x"),
        (b"plain", "plain"),
        (b'{"a":1}', '{"a":1}'),
        (b"\xff", "�"),
        (None, ""),
    ],
)
def test_an_output_becomes_a_message(data, content):
    assert read_message(data) == {"role": "assistant", "content": content}
