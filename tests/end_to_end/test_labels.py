"""Labels of a request, from the client's bytes to the store: every rule, on real sockets."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from learning.captured import captured_by_id
from learning.label_store import Labels
from telemetry.queries import captures
from telemetry.record import RequestRecord
from tests.support.plane import Plane, config, whole_answer
from tests.support.raw_client import Answer
from tests.support.records import fold
from tests.support.scripted import ScriptedUpstream, answering

ROUTES = """\
  mine: {match: {labels: {task: "extract-*", team: red}}, candidates: [a]}
  default: {candidates: [b]}
"""


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream([answering(lambda request: whole_answer())]) as made:
        yield made


@pytest.fixture
def plane(tmp_path: Path, upstream: ScriptedUpstream) -> Iterator[Plane]:
    stripping = f"adapter: openai, base_url: '{upstream.base_url}', model: m, strip_metadata: true"
    with Plane(tmp_path, config(ROUTES, a=upstream.base_url, b=stripping)) as made:
        yield made


def ask(plane: Plane, *headers: str, **body: Any) -> Answer:
    with plane.client() as client:
        answer = client.ask({"model": "auto", "messages": [], **body}, *headers)
    assert answer.status == 200
    return answer


def label(name: str, value: str) -> str:
    return f"x-pointsman-label-{name}: {value}"


def record(plane: Plane) -> RequestRecord:
    return plane.only_record().record


def test_headers_and_metadata_are_one_set_and_the_header_wins(plane: Plane) -> None:
    metadata = {"Task": "from-body", "team": "red"}
    ask(plane, label("TASK", "extract-1"), metadata=metadata)
    assert record(plane).labels == {"task": "extract-1", "team": "red"}
    assert (record(plane).task, record(plane).labels_ignored) == ("extract-1", 0)


def test_labels_choose_the_route(plane: Plane) -> None:
    for headers, metadata, route in (
        ([label("task", "extract-7")], {"team": "red"}, "mine"),
        ([label("Task", "extract-7"), label("team", "red")], None, "mine"),
        ([], {"TASK": "extract-", "Team": "red"}, "mine"),
        ([label("task", "other")], {"task": "extract-7", "team": "red"}, "default"),
        ([label("task", "extract-7")], {"team": "blue"}, "default"),
        ([label("task", "extract-7")], "team=red", "default"),
    ):
        assert ask(plane, *headers, metadata=metadata).header("x-pointsman-route") == route


def test_the_first_of_a_repeated_header_counts(plane: Plane) -> None:
    ask(plane, label("task", "one"), label("Task", "two"))
    assert record(plane).labels == {"task": "one"}


def test_sixteen_are_kept_headers_first_and_the_rest_is_counted(plane: Plane) -> None:
    headers = [label(f"h{number}", "x") for number in range(10)]
    ask(plane, *headers, metadata={f"m{number}": "x" for number in range(10)})
    assert len(record(plane).labels) == 16
    assert all(f"h{number}" in record(plane).labels for number in range(10))
    assert record(plane).labels_ignored == 4
    assert plane.count("labels_ignored_total") == 4


@pytest.mark.parametrize(
    ("name", "value", "is_kept"),
    [
        ("a", "v" * 128, True),
        ("a", "v" * 129, False),
        ("a", "é" * 64, True),
        ("a", "é" * 65, False),
        ("n" * 128, "v", True),
        ("n" * 129, "v", False),
        ("", "v", False),
        ("a", "", True),
    ],
)
def test_a_label_has_at_most_128_bytes_of_name_and_value(
    plane: Plane, name: str, value: str, is_kept: bool
) -> None:
    ask(plane, metadata={name: value})
    ask(plane, label(name, value.encode().decode("latin-1")))
    for kept in plane.wait_for_records(2):
        assert kept.record.labels == ({name: value} if is_kept else {})
        assert kept.record.labels_ignored == (not is_kept)


@pytest.mark.parametrize("value", [1, True, None, ["x"], {"x": "y"}])
def test_what_is_no_text_is_left_out_and_counted(plane: Plane, value: Any) -> None:
    ask(plane, metadata={"a": value, "b": "x"})
    assert (record(plane).labels, record(plane).labels_ignored) == ({"b": "x"}, 1)


@pytest.mark.parametrize("metadata", [None, "x", 7, ["a"], {}])
def test_metadata_that_is_no_object_has_no_labels(plane: Plane, metadata: Any) -> None:
    ask(plane, metadata=metadata)
    assert (record(plane).labels, record(plane).labels_ignored) == ({}, 0)


def test_a_backend_sees_metadata_as_it_came_and_no_label_header(
    plane: Plane, upstream: ScriptedUpstream
) -> None:
    metadata = {"Task": "extract-1", "team": "red"}
    ask(plane, label("secret", "hush"), metadata=metadata)
    ask(plane, label("secret", "hush"), metadata={"team": "blue"})
    asked = [one for connection in upstream.connections for one in connection.requests]
    assert all(b"hush" not in one and b"x-pointsman" not in one.lower() for one in asked)
    bodies = [json.loads(one.partition(b"\r\n\r\n")[2]) for one in asked]
    assert [body.get("metadata") for body in bodies] == [metadata, None]  # b strips it


def test_labels_are_found_again_in_the_store(plane: Plane) -> None:
    ask(plane, label("Task", "extract-1"), metadata={"Team": "red"})
    ask(plane, label("task", "extract-2"))
    fold(plane.configuration.capture.directory)
    (found,) = captures(plane.configuration.capture.directory, labels={"team": "red"})
    assert found["labels"] == {"task": "extract-1", "team": "red"}
    assert found["task"] == "extract-1"
    assert found["source"] == "traffic"


def test_labels_of_a_request_are_no_training_labels(plane: Plane, tmp_path: Path) -> None:
    """Whatever they are called: they are found again as what they are, and nowhere else."""
    said = {"label": "right", "target": "42", "label_source": "human", "verdict": "right"}
    ask(plane, label("label", "right"), label("score", "1"), metadata=said)
    request = record(plane).id
    directory = plane.configuration.capture.directory
    plane.stop()
    fold(directory)
    with sqlite3.connect(directory / "learning.db") as store:
        for table in ("labels", "feedback"):
            assert store.execute(f"select count(*) from {table}").fetchone() == (0,)
    with closing(Labels(directory)) as labels:
        (capture,) = captures(directory)
        assert capture["labels"]["label"] == "right"
        (stored,) = captured_by_id(directory, [request])
        assert labels.is_empty
        assert labels.verdicts([(request, stored.input_hash)]) == {}
