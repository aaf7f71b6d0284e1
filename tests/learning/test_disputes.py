import json

from learning.captured import EVERYTHING, captured
from learning.disputes import read_verdicts, write_disputes
from learning.label_store import Labels
from tests.learning.test_label import capture, labels
from tests.learning.test_label_store import keep as keep_label
from tests.learning.test_label_store import label


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def prepare(tmp_path):
    """Three captures that answered 1250.10: one disputed, one contradicted, one agreed with."""
    capture(tmp_path / "data", 3)
    hashes = [bytes(row.input_hash) for row in captured(tmp_path / "data")]
    keep_label(
        tmp_path / "data",
        *(label(f"a{n}", text, input_hash=hashes[0]) for n, text in enumerate(("1", "2", "3"))),
        label("b", "999", input_hash=hashes[1]),
        label("c", "1250.1", input_hash=hashes[2]),
    )
    return [row.id for row in captured(tmp_path / "data")]


def write(tmp_path):
    path = tmp_path / "decide.jsonl"
    write_disputes(tmp_path / "data", EVERYTHING, path)
    return path


def test_what_is_disputed_comes_heaviest_first(tmp_path):
    identifiers = prepare(tmp_path)
    rows = lines(write(tmp_path))
    assert [row["request_id"] for row in rows] == identifiers[:2]
    assert [row["reason"] for row in rows] == ["samples disagree", "captured answer differs"]
    assert rows[0]["samples"] == ["1", "2", "3"]
    assert rows[1]["teacher"] == "999"
    assert rows[1]["captured"] == "1250.10"
    assert all(row["answer"] is None and row["asked"] == 1 for row in rows)


def test_what_people_decide_counts_and_is_not_asked_again(tmp_path):
    prepare(tmp_path)
    path = write(tmp_path)
    rows = lines(path)
    rows[0]["answer"] = {"payoff": 5}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = read_verdicts(tmp_path / "data", path)
    assert (report.taken, report.undecided, report.bad) == (1, 1, [])
    assert len(lines(write(tmp_path))) == 1
    reader = Labels(tmp_path / "data")
    first = next(captured(tmp_path / "data"))
    verdict = reader.verdicts([(first.id, first.input_hash)])[first.id]
    reader.close()
    assert (verdict.source, json.loads(verdict.text)) == ("human", {"payoff": 5})


def test_a_later_word_supersedes_and_the_same_word_changes_nothing(tmp_path):
    (first, *_) = prepare(tmp_path)
    for answer in ("x", "x", "y"):
        file = tmp_path / "v.jsonl"
        file.write_text(json.dumps({"request_id": first, "answer": answer}) + "\n")
        read_verdicts(tmp_path / "data", file)
    people = [row for row in labels(tmp_path) if row["source"] == "human"]
    assert len(people) == 2
    assert people[1]["supersedes"] == people[0]["id"]


def test_rows_that_cannot_be_taken_are_named(tmp_path):
    prepare(tmp_path)
    file = tmp_path / "v.jsonl"
    file.write_text('{\n\n{"request_id": "none", "answer": "x"}\n{"answer": "x"}\n')
    report = read_verdicts(tmp_path / "data", file)
    assert [fault.row for fault in report.bad] == [1, 3, 4]
