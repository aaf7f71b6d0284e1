"""Requests about an earlier request, on real sockets with a real journal and store."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import proxy.lookup
from proxy.errors import DownstreamError
from proxy.feedback import BODY_BYTES_MAX, TEXT_BYTES_MAX, Posted, read_feedback
from proxy.keys import create_key
from proxy.lookup import Finder
from telemetry.frames import Frame, Kind
from telemetry.ids import new_id
from telemetry.queries import captures
from telemetry.segments import SegmentReader, list_segments
from telemetry.verdicts import feedback_of
from tests.support.plane import Plane, ask, one_backend, whole_answer
from tests.support.raw_client import Answer, get, post
from tests.support.records import fold
from tests.support.scripted import ScriptedUpstream, answering
from tests.support.served import Served
from tests.support.simple_config import write_config
from tests.support.small_disk import fill, small_disk

NOW = datetime(2026, 11, 1, tzinfo=UTC)
FEEDBACK = "/v1/feedback"
DECISIONS = "/v1/decisions/"


@contextmanager
def with_keeper(directory: Path, *, top: str = "") -> Iterator[Plane]:
    """A plane whose lookup has a finder behind it, in the same loop; nobody folds."""
    with (
        ScriptedUpstream([answering(lambda request: whole_answer())]) as upstream,
        Plane(directory, one_backend(upstream.base_url, top=top)) as plane,
    ):
        lookup = plane.data_plane.lookup
        finder = Finder(plane.configuration.capture.directory)

        def send(question: Any) -> bool:
            finder.ask(question, lookup.answered)
            return True

        plane.call(lambda: lookup.through(send))
        yield plane
        finder.close()


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    with with_keeper(tmp_path) as made:
        yield made


def asked(plane: Plane, *headers: str) -> str:
    """One chat; its decision's id."""
    answer = ask(plane, {"model": "auto", "messages": []}, *headers)
    identifier = answer.header("x-pointsman-decision-id")
    assert (answer.status, bool(identifier)) == (200, True)
    return str(identifier)


def say(plane: Plane, body: Any, *headers: str) -> Answer:
    with plane.client() as client:
        return client.ask(body, *headers, path=FEEDBACK)


def look(plane: Plane, identifier: str, *headers: str) -> Answer:
    with plane.client() as client:
        return client.send(get(DECISIONS + identifier, *headers)).read()


def data(plane: Plane) -> Path:
    return plane.configuration.capture.directory


def frames(plane: Plane) -> list[int]:
    """Kinds of the frames in the journal."""
    kinds = []
    for path in list_segments(data(plane) / "journal"):
        with SegmentReader(path) as reader:
            scan = reader.read(0, 0, size=reader.size(), is_sealed=False)
            kinds += [one.kind for one in scan.found if isinstance(one, Frame)]
    return kinds


# -- decisions ------------------------------------------------------------------------------------


def test_a_decision_is_told_before_it_is_folded(plane: Plane) -> None:
    identifier = asked(plane)
    answer = look(plane, identifier)
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    found = answer.json
    assert (found["decision_id"], found["chosen"]) == (identifier, "a")
    assert [one["backend"] for one in found["candidates"]] == ["a"]
    assert found["feedback"] == []


@pytest.mark.parametrize(
    "identifier",
    ["", "x", "%2e%2e", new_id(), "a/b", new_id() + "0"],
    ids=["nothing", "short", "dots", "new", "slash", "long"],
)
def test_an_unknown_decision_is_not_found(plane: Plane, identifier: str) -> None:
    assert look(plane, identifier).code == (404, "invalid_request_error", "decision_not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", DECISIONS + "x", "GET"),
        ("DELETE", DECISIONS + "x", "GET"),
        ("GET", FEEDBACK, "POST"),
        ("PUT", FEEDBACK, "POST"),
    ],
)
def test_other_methods_are_told_which_one_there_is(
    plane: Plane, method: str, path: str, allowed: str
) -> None:
    request = get(path).replace(b"GET", method.encode(), 1)
    if method == "POST":
        request = post(b"{}", path=path)
    with plane.client() as client:
        answer = client.send(request).read()
    assert (answer.status, answer.header("allow")) == (405, allowed)
    assert answer.code[2] == "method_not_supported"


# -- feedback -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1, 1.0), (0.5, 0.5), (True, 1.0), (False, 0.0), ("wrong sum", "wrong sum"), (None, None)],
)
def test_feedback_is_in_the_journal_when_it_is_answered_and_in_the_store_once(
    plane: Plane, value: object, shown: object
) -> None:
    identifier = asked(plane)
    answer = say(plane, {"id": identifier, "name": "payoff", "value": value})
    assert answer.status == 200
    assert frames(plane) == [Kind.HEADER, Kind.REQUEST, Kind.FEEDBACK]
    assert answer.json["object"] == "feedback"
    assert answer.json["decision_id"] == identifier
    fold(data(plane))
    fold(data(plane))
    (kept,) = feedback_of(data(plane), identifier)
    assert (kept["id"], kept["name"], kept["value"]) == (answer.json["id"], "payoff", shown)
    assert (kept["source"], kept["caller"], "demonstration" in kept) == ("feedback", None, False)


@pytest.mark.parametrize("better", ["42", {"role": "assistant", "content": "42"}])
def test_a_demonstration_is_kept_as_it_came(plane: Plane, better: object) -> None:
    identifier = asked(plane)
    body = {"id": identifier, "name": "better", "demonstration": better}
    assert say(plane, body).status == 200
    fold(data(plane))
    (kept,) = feedback_of(data(plane), identifier)
    assert kept["demonstration"] == better


def test_feedback_is_shown_with_the_decision_and_the_capture(plane: Plane) -> None:
    identifier = asked(plane)
    say(plane, {"id": identifier, "name": "one", "value": 1})
    say(plane, {"id": identifier, "name": "two", "demonstration": "better"})
    fold(data(plane))
    shown = look(plane, identifier).json["feedback"]
    assert [one["name"] for one in shown] == ["one", "two"]
    (plain,) = captures(data(plane))
    assert ["demonstration" in one for one in plain["feedback"]] == [False, False]
    (whole,) = captures(data(plane), bodies=True)
    assert whole["feedback"] == shown


def test_feedback_makes_no_record_of_its_own(plane: Plane) -> None:
    identifier = asked(plane)
    say(plane, {"id": identifier, "name": "thumb", "value": True})
    say(plane, b"nonsense")
    assert [kept.record.id for kept in plane.records()] == [identifier]


def test_feedback_comes_on_the_connection_of_the_answer_and_in_its_turn(plane: Plane) -> None:
    with plane.client() as client:
        identifier = client.ask({"model": "auto", "messages": []}).header("x-pointsman-decision-id")
        body = {"id": identifier, "name": "thumb", "value": 1}
        both = post(body, path=FEEDBACK) + get(f"{DECISIONS}{identifier}") + get("/healthz")
        client.send(both)
        answers = [client.read() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert answers[0].json["object"] == "feedback"
    assert answers[1].json["decision_id"] == identifier
    assert answers[2].json == {"status": "ok"}


def test_what_a_client_says_before_it_leaves_is_kept(plane: Plane) -> None:
    identifier = asked(plane)
    with plane.client() as client:
        client.send(post({"id": identifier, "name": "thumb", "value": 1}, path=FEEDBACK))
    plane.wait_until(lambda: Kind.FEEDBACK in frames(plane))
    assert look(plane, identifier).status == 200


# -- whose it is ----------------------------------------------------------------------------------


def test_only_the_caller_who_asked_may(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    _, mine = create_key(keys, caller="billing", now=NOW)
    _, theirs = create_key(keys, caller="other", now=NOW)
    with with_keeper(tmp_path, top="keys: {file: keys.yaml}") as plane:
        own, other = (f"Authorization: Bearer {key}" for key in (mine, theirs))
        identifier = asked(plane, own)
        body = {"id": identifier, "name": "thumb", "value": 1}
        assert look(plane, identifier, own).status == 200
        assert say(plane, body, own).status == 200
        for answer in (look(plane, identifier, other), say(plane, body, other)):
            assert answer.code == (404, "invalid_request_error", "decision_not_found")
        for answer in (look(plane, identifier), say(plane, body)):
            assert answer.code == (401, "invalid_request_error", "invalid_api_key")
        fold(data(plane))
        (kept,) = feedback_of(data(plane), identifier)
        assert (kept["source"], kept["caller"]) == ("feedback", "billing")


@pytest.mark.parametrize("member", ["source", "caller", "tags", "ts_us"])
def test_who_said_it_is_not_for_the_client_to_write(plane: Plane, member: str) -> None:
    identifier = asked(plane)
    answer = say(plane, {"id": identifier, "name": "thumb", member: "human"})
    assert answer.code == (400, "invalid_request_error", None)
    assert member not in answer.error["message"]
    assert Kind.FEEDBACK not in frames(plane)


def test_a_request_that_was_not_to_be_kept_takes_no_feedback(plane: Plane) -> None:
    identifier = asked(plane, "x-pointsman-capture: off")
    assert say(plane, {"id": identifier, "name": "thumb"}).code[2] == "decision_not_found"
    assert look(plane, identifier).code[2] == "decision_not_found"


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"{", None),
        (b'{"id": "x", "name": "a\xff"}', None),
        ({"name": "a"}, "id"),
        ({"id": "x"}, "name"),
        ({"id": 1, "name": "a"}, "id"),
        ({"id": "x", "name": None}, "name"),
        ({"id": "x", "name": ""}, "name"),
        ({"id": "x", "name": "a\n"}, "name"),
        ({"id": "x", "name": "é" * 65}, "name"),
        ({"id": "x", "name": "a", "value": []}, "value"),
        (b'{"id": "x", "name": "a", "value": 1e999}', "value"),
        ({"id": "x", "name": "a", "value": "v" * (TEXT_BYTES_MAX + 1)}, "value"),
        ({"id": "x", "name": "a", "demonstration": ["b"]}, "demonstration"),
        ({"id": "x", "name": "a", "demonstration": 1}, "demonstration"),
        (b'{"id": "x", "name": "a", "demonstration": "\xff"}', "demonstration"),
    ],
)
def test_what_is_not_feedback_is_refused_and_the_member_named(
    plane: Plane, body: Any, param: str | None
) -> None:
    answer = say(plane, body)
    assert answer.code == (400, "invalid_request_error", None)
    assert answer.error["param"] == param


def test_feedback_that_is_too_large_is_refused(plane: Plane) -> None:
    body = {"id": "x", "name": "a", "demonstration": "v" * BODY_BYTES_MAX}
    assert say(plane, body).code == (413, "invalid_request_error", "request_too_large")


def test_compressed_feedback_is_refused(plane: Plane) -> None:
    answer = say(plane, {"id": "x", "name": "a"}, "Content-Encoding: gzip")
    assert answer.code == (415, "invalid_request_error", "unsupported_encoding")


def test_feedback_about_nothing_is_not_found(plane: Plane) -> None:
    for identifier in ("x", new_id()):
        answer = say(plane, {"id": identifier, "name": "a"})
        assert answer.code == (404, "invalid_request_error", "decision_not_found")
    assert plane.records() == []


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.dictionaries(
        st.sampled_from(("id", "name", "value", "demonstration", "x")), inner, max_size=5
    ),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_body_is_feedback_or_an_error(body: bytes) -> None:
    found = read_feedback(body)
    assert isinstance(found, Posted) or found.status in (400, 413)


# -- when it cannot be done -----------------------------------------------------------------------


def test_without_a_keeper_both_say_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedUpstream() as upstream, Plane(tmp_path, one_backend(upstream.base_url)) as plane:
        for answer in (look(plane, new_id()), say(plane, {"id": new_id(), "name": "a"})):
            assert answer.code == (503, "server_error", "lookup_unavailable")
            assert answer.header("retry-after") == "1"
        monkeypatch.setattr(proxy.lookup, "ANSWER_S", 0.05)
        plane.call(lambda: plane.data_plane.lookup.through(lambda question: True))
        assert look(plane, new_id()).status == 503
        assert plane.count("lookups_unanswered_total") == 3


def test_a_worker_that_leaves_answers_what_is_open(tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream, Plane(tmp_path, one_backend(upstream.base_url)) as plane:
        asked_for: list[object] = []
        lookup = plane.data_plane.lookup
        plane.call(lambda: lookup.through(lambda question: not asked_for.append(question)))
        with plane.client() as client:
            client.send(get(DECISIONS + new_id()))
            plane.wait_until(lambda: asked_for)
            plane.call(lookup.close)
            assert client.read().code[2] == "lookup_unavailable"


def test_a_defect_of_ours_is_a_500_and_harms_nobody(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(body: bytes) -> Posted | DownstreamError:
        raise ValueError("a defect")

    monkeypatch.setattr("proxy.feedback.read_feedback", fail)
    assert say(plane, {"id": "x", "name": "a"}).code == (500, "server_error", "internal_error")
    assert look(plane, asked(plane)).status == 200


@pytest.mark.parametrize("on_error", ["fail_open", "fail_closed"])
def test_feedback_that_cannot_be_kept_is_not_acknowledged(tmp_path: Path, on_error: str) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk:
        top = f"capture: {{directory: {disk / 'data'}, on_error: {on_error}}}"
        with with_keeper(tmp_path, top=top) as plane:
            identifier = asked(plane)
            fill(disk)
            body = {"id": identifier, "name": "a", "demonstration": "v" * 8192}
            answers = [say(plane, body).code for _ in range(2)]
            assert answers == [(503, "server_error", "capture_unavailable")] * 2


# -- the whole of it ------------------------------------------------------------------------------


def test_any_worker_takes_feedback_and_restarts_lose_none(tmp_path: Path) -> None:
    with Served(write_config(tmp_path), workers=2) as served:
        _, headers, _ = served.chat()
        identifier = headers["x-pointsman-decision-id"]
        for number in range(8):  # connections go to either worker
            body = json.dumps({"id": identifier, "name": f"n{number}", "value": number}).encode()
            status, _, _ = served.exchange(FEEDBACK, port="listen", method="POST", body=body)
            assert status == 200
        served.kill_child("worker 0")
        keeper = served.kill_child("keeper")
        served.wait_for_child("keeper", other_than=keeper)
        found = wait_for_feedback(served, identifier, 8)
        assert [one["value"] for one in found] == list(range(8))
        _, of_admin = served.get(f"/decisions/{identifier}")
        assert of_admin["feedback"] == found
    (kept,) = captures(tmp_path / "data")
    assert kept["feedback"] == found


def wait_for_feedback(served: Served, identifier: str, count: int) -> list[dict[str, Any]]:
    """What the data port tells once all is folded; until then the keeper may be away."""
    deadline_s = time.monotonic() + 15
    while True:
        status, found = served.get(f"{DECISIONS}{identifier}", port="listen")
        if status == 200 and len(found["feedback"]) >= count:
            return list(found["feedback"])
        assert time.monotonic() < deadline_s, found
        time.sleep(0.05)
