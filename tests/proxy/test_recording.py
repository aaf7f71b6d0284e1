"""One record for every recordable request, and what of it is kept."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from proxy.recording import TAPE_BYTES_MAX, Tape, lower_level
from telemetry.queries import captures
from telemetry.record import BodyPart, CaptureLevel
from tests.support.plane import (
    ASKED,
    DONE,
    EVENTS,
    STREAMED,
    Plane,
    ask,
    error_answer,
    event,
    one_backend,
    serving,
    stream_answer,
    usage_event,
    whole_answer,
)
from tests.support.raw_client import post
from tests.support.records import fold
from tests.support.scripted import (
    ScriptedUpstream,
    chunk,
    chunked_head,
    request,
    reset,
    response,
    stall,
    until_closed,
)
from tests.support.small_disk import fill, small_disk


def test_every_outcome_has_its_record_equal_in_hash(tmp_path: Path) -> None:
    """As the client sent and received them, de-chunked; found again in the store, once."""
    script = [
        request, whole_answer(),
        request, stream_answer(EVENTS, usage_event(), DONE),
        request, stream_answer(event("half")),
        request, error_answer("400 X"),
        request, response(b"<html>"), request, response(b"<html>"), request, response(b"<html>"),
    ]  # fmt: skip
    bodies = [ASKED, STREAMED, STREAMED, ASKED, ASKED, b"{", {**ASKED, "model": "none"}, b""]
    asked = [post(body).partition(b"\r\n\r\n")[2] for body in bodies]
    with serving(tmp_path, script) as (_, plane):
        answers = [ask(plane, body) for body in bodies]
        kept = plane.wait_for_records(len(bodies))
    statuses = ["ok", "ok", "upstream_cut", "error", "error", "refused", "refused", "refused"]
    assert [one.record.status for one in kept] == statuses
    assert [one.record.complete for one in kept] == [status == "ok" for status in statuses]
    assert [one.record.request for one in kept] == asked
    assert [one.response for one in kept] == [answer.body for answer in answers]
    assert [one.record.http_status for one in kept] == [answer.status for answer in answers]
    ids = [answer.header("x-pointsman-decision-id") for answer in answers]
    assert [one.record.id for one in kept] == ids

    assert fold(tmp_path / "data").records == len(bodies)
    found = list(captures(tmp_path / "data", bodies=True))
    assert [one["id"] for one in found] == ids
    for one, body, answer in zip(found, asked, answers, strict=True):
        assert one["request_sha256"] == sha256(body).hexdigest()
        assert one["response_sha256"] == sha256(answer.body).hexdigest()
        assert (one["request"] or "").encode() == body
        assert (one["response"] or "").encode() == answer.body


@pytest.mark.parametrize("path", ["/v1/moderations", "/v1/models", "/v1/files"])
def test_a_post_to_a_path_that_is_not_served_is_recorded(tmp_path: Path, path: str) -> None:
    with serving(tmp_path, [until_closed]) as (_, plane), plane.client() as client:
        answer = client.ask(ASKED, path=path)
        kept = plane.only_record()
        assert kept.record.status == "refused"
        assert kept.record.http_status == answer.status
        assert kept.response == answer.body
        assert kept.record.api == "unknown"


def test_what_is_known_of_a_request_is_recorded(tmp_path: Path) -> None:
    body = {
        **STREAMED, "n": 2, "user": "u1", "tools": [{"function": {"name": "f"}}],
        "metadata": {"Task": "from-body", "team": "red"},
        "response_format": {"type": "json_object"},
    }  # fmt: skip
    headers = (
        "x-pointsman-label-task: from-header", "x-pointsman-conversation: c1",
        "X-Request-Id: mine-1", "x-pointsman-label-long: " + "x" * 200,
    )  # fmt: skip
    said = [event(choices=[{"index": n, "delta": {}, "finish_reason": "stop"}]) for n in (0, 1)]
    with serving(tmp_path, [request, stream_answer(*said, usage_event(), DONE)]) as (_, plane):
        ask(plane, body, *headers)
        record = plane.only_record().record
    assert (record.api, record.model_asked, record.model_used) == ("chat", "auto", "m-a")
    assert (record.model_reported, record.provider_response_id) == ("real-model", "chatcmpl-1")
    assert (record.is_stream, record.choices, record.has_tools) == (True, 2, True)
    assert (record.response_format, record.user) == ("json_object", "u1")
    assert record.labels == {"task": "from-header", "team": "red"}
    assert (record.task, record.labels_ignored) == ("from-header", 1)
    assert (record.conversation, record.client_request_id) == ("c1", "mine-1")
    assert (record.route, record.backend, record.decided) == ("default", "a", "a")
    assert record.finish_reason == "stop"
    assert [one.backend for one in record.candidates] == ["a"]
    assert record.reason
    assert record.seed is not None
    assert (record.caller, record.is_simulated, record.is_escalated) == (None, False, False)
    assert record.first_byte_us is not None
    assert 0 < record.first_byte_us <= record.total_us < 5_000_000


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"abc-1.2_X", "abc-1.2_X"),
        (b"a b/c;d\te", "abcde"),
        (b"x" * 10_000, "x" * 128),
        (b"\xc3\xa9\xff", None),
        (b"<script>", "script"),
        (b"", None),
    ],
)
def test_a_clients_own_id_is_cleaned_and_not_echoed(
    tmp_path: Path, sent: bytes, kept: str | None
) -> None:
    with serving(tmp_path, [request, whole_answer()]) as (_, plane):
        answer = ask(plane, ASKED, f"X-Request-Id: {sent.decode('latin-1')}")
        assert (answer.header("x-request-id") or "").startswith("req_")
        assert plane.only_record().record.client_request_id == kept


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("how", ["route", "header"])
def test_metadata_leaves_out_the_bodies_but_not_their_hashes(
    tmp_path: Path, is_stream: bool, how: str
) -> None:
    said = stream_answer(EVENTS, usage_event(), DONE) if is_stream else whole_answer()
    route = "capture: metadata" if how == "route" else ""
    headers = ("x-pointsman-capture: metadata",) if how == "header" else ()
    body = STREAMED if is_stream else ASKED
    with serving(tmp_path, [request, said], route=route) as (_, plane):
        answer = ask(plane, body, *headers)
        kept = plane.only_record()
    record = kept.record
    assert record.capture == "metadata"
    assert (record.request, record.response, record.response_parts) == (None, None, 0)
    assert record.request_sha256 == sha256(post(body).partition(b"\r\n\r\n")[2]).digest()
    assert record.response_sha256 == sha256(answer.body).digest()
    assert record.usage.completion == 5
    assert record.attempts


def test_metadata_tells_how_long_the_bodies_were(tmp_path: Path) -> None:
    with serving(tmp_path, [request, whole_answer()], route="capture: metadata") as (_, plane):
        answer = ask(plane)
        record = plane.only_record().record
    assert record.request_bytes == len(post(ASKED).partition(b"\r\n\r\n")[2])
    assert record.response_bytes == len(answer.body)


def test_off_leaves_the_bill(tmp_path: Path) -> None:
    body = {**ASKED, "user": "secret", "metadata": {"a": "secret"}}
    with serving(tmp_path, [request, whole_answer("secret")]) as (_, plane):
        answer = ask(plane, body, "x-pointsman-capture: off", "x-pointsman-conversation: secret")
        record = plane.only_record().record
    assert answer.status == 200
    assert (record.capture, record.status, record.route, record.backend) == (
        "off", "ok", "default", "a",
    )  # fmt: skip
    assert record.usage.prompt == 3
    assert record.cost_usd is not None
    journal = b"".join(path.read_bytes() for path in (tmp_path / "data/journal").iterdir())
    assert b"secret" not in journal


@pytest.mark.parametrize(
    ("level", "asked", "kept"),
    [
        ("full", None, "full"),
        ("full", b"metadata", "metadata"),
        ("full", b"off", "off"),
        ("full", b"full", "full"),
        ("full", b"nonsense", "full"),
        ("metadata", b"full", "metadata"),
        ("metadata", b"off", "off"),
        ("off", b"metadata", "off"),
    ],
)
def test_a_client_can_only_lower_what_is_kept(
    level: CaptureLevel, asked: bytes | None, kept: str
) -> None:
    assert lower_level(level, asked) == kept


@pytest.mark.parametrize("route", ["capture: off", "capture: metadata"])
def test_a_long_answer_that_is_not_kept_leaves_no_parts(tmp_path: Path, route: str) -> None:
    events = [event("x" * 100_000)] * 30 + [event(finish="stop"), DONE]
    with serving(tmp_path, [request, stream_answer(*events)], route=route) as (_, plane):
        assert ask(plane, STREAMED).is_whole
        assert plane.only_record().record.response_parts == 0
    assert sum(path.stat().st_size for path in (tmp_path / "data/journal").iterdir()) < 50_000


def test_a_long_stream_is_spilled_and_read_back_equal(tmp_path: Path) -> None:
    events = [event("x" * 100_000)] * 30 + [event(finish="stop"), DONE]
    with serving(tmp_path, [request, stream_answer(*events)]) as (_, plane):
        answer = ask(plane, STREAMED)
        kept = plane.only_record()
        assert kept.record.response_parts >= 2
        assert kept.response == answer.body == b"".join(events)
    fold(tmp_path / "data")
    (found,) = captures(tmp_path / "data", bodies=True)
    assert found["response_sha256"] == sha256(answer.body).hexdigest()
    assert found["response"] == answer.body.decode()


def test_a_long_stream_that_breaks_off_is_kept_as_far_as_it_went(tmp_path: Path) -> None:
    events = b"".join(map(chunk, [event("x" * 100_000)] * 25))
    script = [request, chunked_head(), events, stall(0.1), reset]
    with serving(tmp_path, script) as (_, plane):
        answer = ask(plane, STREAMED)
        kept = plane.only_record()
        assert kept.record.status == "upstream_cut"
        assert kept.response == answer.body


def test_a_client_that_goes_leaves_what_it_received(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    half = event("half", usage=usage)
    script = [request, chunked_head(), chunk(half), until_closed]
    with serving(tmp_path, script) as (_, plane):
        with plane.client() as client:
            client.send(post(STREAMED))
            client.read_chunk(client.read_head())
        kept = plane.only_record()
        assert (kept.record.status, kept.response) == ("client_gone", half)
        assert (kept.record.backend, kept.record.usage.completion) == ("a", 1)
        assert kept.tried == [("primary", "a", "client_gone")]


# -- a disk that refuses --------------------------------------------------------------------------


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "data", 1024) as directory:
        yield directory


def refusing(directory: Path, url: str, on_error: str) -> str:
    return one_backend(url, top=f"capture: {{directory: {directory}, on_error: {on_error}}}")


def test_fail_closed_gives_no_answer_that_is_not_kept(tmp_path: Path, full_disk: Path) -> None:
    with (
        ScriptedUpstream([request, whole_answer()] * 9) as up,
        Plane(tmp_path, refusing(full_disk, up.base_url, "fail_closed")) as plane,
    ):
        assert ask(plane).status == 200
        ballast = fill(full_disk)
        answers = [ask(plane, {**ASKED, "user": "u" * 5000}) for _ in range(2)]
        for answer in answers:
            assert answer.code == (503, "server_error", "capture_unavailable")
            assert int(answer.header("retry-after") or 0) >= 1
            assert b"hello" not in answer.body
        asked = len(up.requests)
        assert asked <= 2  # the second was refused before a backend was asked
        ballast.unlink()
        plane.wait_until(lambda: ask(plane).status == 200, 3.0)


def test_fail_closed_ends_a_stream_without_its_end(tmp_path: Path, full_disk: Path) -> None:
    script = [request, chunked_head(), chunk(EVENTS), stall(0.3), chunk(DONE) + b"0\r\n\r\n"]
    with (
        ScriptedUpstream(script) as up,
        Plane(tmp_path, refusing(full_disk, up.base_url, "fail_closed")) as plane,
        plane.client() as client,
    ):
        client.send(post({**STREAMED, "user": "u" * 5000}))
        answer = client.read_head()
        fill(full_disk)
        while client.read_chunk(answer):
            pass
        assert not answer.is_whole
        assert b"[DONE]" not in answer.body


def test_fail_open_answers_and_counts(tmp_path: Path, full_disk: Path) -> None:
    with (
        ScriptedUpstream([request, whole_answer()] * 9) as up,
        Plane(tmp_path, refusing(full_disk, up.base_url, "fail_open")) as plane,
    ):
        fill(full_disk)
        for _ in range(3):
            assert ask(plane, {**ASKED, "user": "u" * 5000}).status == 200
        assert plane.data_plane.journal.counters.dropped == 3


# -- the tape -------------------------------------------------------------------------------------


def test_the_tape_gives_back_what_went_over_it() -> None:
    parts: list[BodyPart] = []
    tape = Tape("id", parts.append)
    pieces = [bytes([number]) * 300_000 for number in range(10)]
    for piece in pieces:
        tape.add(piece)
    rest = tape.rest()
    assert rest is not None
    assert b"".join([*(part.data for part in parts), rest]) == b"".join(pieces)
    assert [part.index for part in parts] == list(range(tape.parts))
    assert max(len(part.data) for part in parts) < 2 * TAPE_BYTES_MAX
    assert tape.digest() is None


def test_an_empty_tape_is_an_empty_answer() -> None:
    assert Tape("id", lambda part: None).rest() == b""


def test_a_tape_keeps_as_much_as_it_is_told() -> None:
    for level, rest, digest in (
        ("metadata", None, sha256(b"ab").digest()),
        ("off", None, None),
    ):
        tape = Tape("id", lambda part: None)
        tape.set_level(level)  # type: ignore[arg-type]
        tape.add(b"a")
        tape.add(b"b")
        assert (tape.rest(), tape.digest()) == (rest, digest)
