"""Room for requests: in all, per key, and the short wait for it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.admission import WAITING_MAX, Admission
from proxy.errors import DownstreamError
from proxy.keys import create_key
from proxy.listening import Limits
from tests.support.plane import ASKED, Plane, ask, one_backend, whole_answer
from tests.support.raw_client import post
from tests.support.scripted import Connection, ScriptedUpstream, fin, request

OVERLOADED = (503, "server_error", "overloaded")
TOO_MANY = (429, "requests", "rate_limit_exceeded")


class Comer:
    """A request that only remembers what became of it."""

    def __init__(self, identity: str, caller: str | None = None) -> None:
        self.id = identity
        self.caller = caller
        self.became: list[str] = []

    def begin_late(self) -> None:
        self.became.append("begun")

    def refuse(self, error: DownstreamError) -> None:
        self.became.append(error.code or "")


def admission(limits: Limits) -> Admission:
    made = Admission(asyncio.get_running_loop())
    made.configure(limits)
    return made


def come(to: Admission, comer: Comer) -> bool:
    """Whether it is served at once; else it waits or was refused."""
    to.enter(comer.caller)
    error = to.refusal(comer.caller)
    if error is not None:
        comer.refuse(error)
        return False
    return not to.holds(comer)


async def test_counts_and_refuses_beyond_the_limit() -> None:
    room = admission(Limits(in_flight=2))
    comers = [Comer(str(number)) for number in range(3)]
    assert [come(room, comer) for comer in comers] == [True, True, False]
    assert comers[2].became == ["overloaded"]
    assert room.in_flight == 3, "until its answer is out"
    for comer in comers:
        room.leave(comer.id, None)
    assert room.in_flight == 0


async def test_one_caller_at_its_limit_leaves_room_to_the_others() -> None:
    room = admission(Limits(in_flight=10, in_flight_per_key=1))
    first, again, other = Comer("1", "a"), Comer("2", "a"), Comer("3", "b")
    assert come(room, first)
    assert not come(room, again)
    assert again.became == ["rate_limit_exceeded"]
    assert come(room, other)
    assert come(room, Comer("4", None)), "without keys nobody has a limit of its own"
    room.leave("2", "a")
    room.leave("1", "a")
    assert come(room, Comer("5", "a"))


async def test_who_waits_gets_the_first_room_in_the_order_they_came() -> None:
    room = admission(Limits(in_flight=1, queue_s=5))
    comers = [Comer(str(number)) for number in range(3)]
    assert [come(room, comer) for comer in comers] == [True, False, False]
    assert room.waiting == 2
    assert repr(room) == "<Admission in_flight=3 waiting=2>"
    for number in range(2):
        room.leave(str(number), None)
        await asyncio.sleep(0)
        assert [comer.became for comer in comers[1:]].count(["begun"]) == number + 1
        assert comers[number + 1].became == ["begun"]
    room.leave("2", None)
    assert (room.in_flight, room.waiting) == (0, 0)


async def test_who_waits_in_vain_is_refused_in_time() -> None:
    room = admission(Limits(in_flight=1, queue_s=0.02))
    assert come(room, Comer("1"))
    second = Comer("2")
    come(room, second)
    await asyncio.sleep(0.03)
    assert second.became == ["overloaded"]
    assert room.waiting == 0
    room.leave("2", None)
    room.leave("1", None)
    assert room.in_flight == 0


async def test_a_callers_own_queue_blocks_nobody_else() -> None:
    room = admission(Limits(in_flight=10, in_flight_per_key=1, queue_s=0.05))
    first, again, other = Comer("1", "a"), Comer("2", "a"), Comer("3", "b")
    assert come(room, first)
    assert not come(room, again)
    assert come(room, other)
    room.leave("3", "b")
    assert again.became == []
    room.leave("1", "a")
    await asyncio.sleep(0)
    assert again.became == ["begun"]
    late = Comer("4", "a")
    come(room, late)
    await asyncio.sleep(0.06)
    assert late.became == ["rate_limit_exceeded"]


async def test_who_leaves_while_waiting_takes_no_room() -> None:
    room = admission(Limits(in_flight=1, queue_s=5))
    assert come(room, Comer("1"))
    gone, next_one = Comer("2"), Comer("3")
    come(room, gone)
    come(room, next_one)
    room.leave("2", None)
    assert (gone.became, room.waiting) == ([], 1)
    room.leave("1", None)
    await asyncio.sleep(0)
    assert next_one.became == ["begun"]


async def test_the_queue_is_bounded() -> None:
    room = admission(Limits(in_flight=1, queue_s=5))
    come(room, Comer("first"))
    for number in range(WAITING_MAX):
        come(room, Comer(str(number)))
    last = Comer("last")
    assert not come(room, last)
    assert last.became == ["overloaded"]
    assert room.waiting == WAITING_MAX


async def test_callers_are_only_counted_where_they_have_a_limit() -> None:
    room = admission(Limits(in_flight_per_key=1))
    come(room, Comer("1", "a"))
    room.configure(Limits())
    assert come(room, Comer("2", "a"))
    room.leave("1", "a")
    room.leave("2", "a")
    assert room.in_flight == 0


# -- for real ------------------------------------------------------------------------------------


@contextmanager
def slow(
    directory: Path, top: str, span_s: float = 5.0
) -> Iterator[tuple[ScriptedUpstream, Plane]]:
    """A plane in front of a backend that takes its time."""

    def answer(connection: Connection) -> None:
        connection.stall(span_s)
        connection.send(whole_answer())

    with (
        ScriptedUpstream([request, answer, fin]) as upstream,
        Plane(directory, one_backend(upstream.base_url, top=top)) as plane,
    ):
        yield upstream, plane


@pytest.mark.timed
def test_overload_is_told_at_once(tmp_path: Path) -> None:
    with slow(tmp_path, "limits: {in_flight: 1}") as (upstream, plane), plane.client() as first:
        first.send(post(ASKED))
        plane.wait_until(lambda: upstream.requests)
        started_s = time.monotonic()
        answer = ask(plane)
        assert time.monotonic() - started_s < 0.02
        assert (answer.code, answer.header("retry-after")) == (OVERLOADED, "1")


def test_a_short_wait_saves_a_refusal(tmp_path: Path) -> None:
    top = "limits: {in_flight: 1, queue: 100ms}"
    with slow(tmp_path, top, 0.05) as (upstream, plane), plane.client() as first:
        first.send(post(ASKED))
        plane.wait_until(lambda: upstream.requests)
        assert ask(plane).status == 200
        assert first.read().status == 200
        assert plane.count("in_flight") == 0


@pytest.mark.timed
def test_a_wait_in_vain_ends_with_the_queues_time(tmp_path: Path) -> None:
    with slow(tmp_path, "limits: {in_flight: 1, queue: 50ms}") as (upstream, plane):
        with plane.client() as first:
            first.send(post(ASKED))
            plane.wait_until(lambda: upstream.requests)
            started_s = time.monotonic()
            assert ask(plane).code == OVERLOADED
            assert 0.045 < time.monotonic() - started_s < 0.2
            with plane.client() as leaving:
                leaving.send(post(ASKED))
                plane.wait_until(lambda: plane.data_plane.admission.waiting == 1)
            plane.wait_until(lambda: plane.data_plane.admission.waiting == 0)
        assert plane.wait_for_records(3)
        assert plane.count("in_flight") == 0


UPLOAD = post(b"abc").replace(b"/v1/chat/completions", b"/v1/files")
PASSES = "passthrough: [{path: /v1/files, backend: a}]\n"


def test_what_passes_through_waits_for_room_too(tmp_path: Path) -> None:
    top = PASSES + "limits: {in_flight: 1, queue: 100ms}"
    with slow(tmp_path, top, 0.05) as (upstream, plane), plane.client() as first:
        first.send(UPLOAD)
        plane.wait_until(lambda: upstream.requests)
        with plane.client() as second:
            assert second.send(UPLOAD).read().status == 200
        assert first.read().status == 200
        assert plane.count("in_flight") == 0


def test_what_passes_through_does_not_wait_for_long(tmp_path: Path) -> None:
    top = PASSES + "limits: {in_flight: 1, queue: 20ms}"
    with slow(tmp_path, top) as (upstream, plane), plane.client() as first:
        first.send(UPLOAD)
        plane.wait_until(lambda: upstream.requests)
        with plane.client() as second:
            assert second.send(UPLOAD).read().code == OVERLOADED
        assert len(upstream.requests) == 1


def test_a_key_at_its_limit_gets_a_429(tmp_path: Path) -> None:
    keys_file = tmp_path / "keys.yaml"
    now = datetime(2026, 11, 24, tzinfo=UTC)
    secrets = [create_key(keys_file, caller=name, now=now)[1] for name in ("a", "b")]
    mine, other = [f"Authorization: Bearer {secret}" for secret in secrets]
    top = "keys: {file: keys.yaml}\nlimits: {in_flight_per_key: 1}"
    with slow(tmp_path, top, 0.2) as (upstream, plane), plane.client() as first:
        first.send(post(ASKED, mine))
        plane.wait_until(lambda: upstream.requests)
        answer = ask(plane, ASKED, mine)
        assert (answer.code, answer.header("retry-after")) == (TOO_MANY, "1")
        assert ask(plane, ASKED, other).status == 200
        assert first.read().status == 200
        assert ask(plane, ASKED, mine).status == 200


@pytest.mark.timed
def test_a_full_backend_is_told_at_once(tmp_path: Path) -> None:
    with slow(tmp_path, "") as (upstream, plane):
        text = one_backend(upstream.base_url).replace("price:", "in_flight: 1, price:")
        plane.reconfigure(text)
        with plane.client() as first:
            first.send(post(ASKED))
            plane.wait_until(lambda: upstream.requests)
            started_s = time.monotonic()
            assert ask(plane).code == OVERLOADED
            assert time.monotonic() - started_s < 0.02


def test_a_short_wait_for_a_backend_saves_a_refusal(tmp_path: Path) -> None:
    with slow(tmp_path, "limits: {queue: 100ms}", 0.05) as (upstream, plane):
        text = one_backend(upstream.base_url, top="limits: {queue: 100ms}")
        plane.reconfigure(text.replace("price:", "in_flight: 1, price:"))
        with plane.client() as first:
            first.send(post(ASKED))
            plane.wait_until(lambda: upstream.requests)
            assert ask(plane).status == 200
            assert first.read().status == 200
