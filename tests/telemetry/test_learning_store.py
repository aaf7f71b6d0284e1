import pytest

from telemetry.learning_store import (
    LearningBatch,
    LearningStore,
    Progress,
    event_row,
    feedback_row,
    label_row,
    load_learned,
)
from telemetry.record import EventRecord, FeedbackRecord, LabelRecord
from telemetry.store import open_for_reading


@pytest.fixture
def store(tmp_path):
    store = LearningStore(tmp_path)
    yield store
    store.close()


def write(store, batch, segment="a.seg", done=10):
    store.write(batch, segment=segment, node="n", worker=0, progress=Progress(done, 2, 1))


def count(store, table):
    connection = open_for_reading(store.path)
    [(number,)] = connection.execute(f"select count(*) from {table}")
    connection.close()
    return number


def test_writing_the_same_again_changes_nothing(store):
    batch = LearningBatch(
        feedback=[feedback_row(FeedbackRecord("f", "r", 1, "thumb", text="good"))],
        labels=[label_row(LabelRecord("l", "r", b"h", "human", 1, verdict="right"))],
        events=[event_row(EventRecord(1, "gap", 0, 5), "a.seg", 17, "n")],
        unread=[("a.seg", 99, 7, 1, b"payload")],
    )
    for _ in range(2):
        write(store, batch)
    for table in ("feedback", "labels", "events", "unread_frames", "fold_progress"):
        assert count(store, table) == 1


def test_progress_moves_on_and_is_forgotten(store):
    assert store.progress("a.seg") == Progress()
    write(store, LearningBatch(), done=10)
    write(store, LearningBatch(), done=30)
    assert store.progress("a.seg") == Progress(30, 2, 1)
    assert store.segments() == ["a.seg"]
    store.forget_progress("a.seg")
    assert store.segments() == []


def test_a_batch_that_fails_leaves_nothing(store):
    bad = LearningBatch(
        events=[("a", 1, 1, "ok", "n", 0, 1, None), ("a", 2, None, None, 0, 0, 0, 0)]
    )
    bad.feedback.append(("f",))
    with pytest.raises(Exception, match="binding"):
        write(store, bad)
    assert count(store, "events") == 0
    write(store, LearningBatch())


def test_what_was_learned_is_read_with_and_without_the_lock(store, tmp_path):
    assert load_learned(tmp_path / "missing", "policies") is None
    assert store.load_learned("policies") is None
    store.save_learned("policies", b"one")
    store.save_learned("policies", b"two")
    store.save_learned("canary", b"other")
    assert store.load_learned("policies") == load_learned(tmp_path, "policies") == b"two"
