"""One worker's part: who is on a canary's side, and that a swap leaves requests under way alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from policies.canary_run import Arm
from tests.support.plane import ASKED, Plane, ask, serving_two, whole_answer
from tests.support.raw_client import post
from tests.support.scripted import Script, ScriptedUpstream, request, stall

ROUTE = "canary: {backend: b, replaces: a, stages: [shadow, 1%], keep_if: {error: +1pp}}"
"""Of a route whose one candidate is `a`."""
ALL = Arm("b", "a", 1.0)
ANSWER: Script = [request, whole_answer()] * 4


@contextmanager
def serving(
    directory: Path, second: Script = ANSWER, *, route: str = ROUTE, **arms: Arm
) -> Iterator[tuple[ScriptedUpstream, Plane]]:
    """A plane that was told of these canaries; the canary's backend, and the plane."""
    with serving_two(directory, ANSWER, second, route) as (_, b, plane):
        take(plane, **arms)
        yield b, plane


def take(plane: Plane, **arms: Arm) -> None:
    plane.call(lambda: plane.data_plane.sides.take(arms))


def served_by(plane: Plane) -> str | None:
    return ask(plane).header("x-pointsman-backend")


def copies(plane: Plane) -> float:
    return plane.count("shadows_total", backend="b", outcome="labelled")


def test_a_request_on_its_side_is_its_own_and_the_record_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, default=ALL) as (_, plane):
        assert served_by(plane) == "b"
        record = plane.only_record().record
        assert (record.canary, record.decided, record.backend) == ("b", "b", "b")
        assert [one.backend for one in record.candidates] == ["b"]
        assert plane.call(plane.data_plane.state)["canaries"] == {"default": 1.0}


@pytest.mark.parametrize(
    "arm",
    [Arm("b", "a", 0.0), Arm("other", "a", 1.0), Arm("b", "other", 1.0)],
    ids=["no share", "of another configuration", "for another backend"],
)
def test_others_are_answered_as_before(tmp_path: Path, arm: Arm) -> None:
    with serving(tmp_path, default=arm) as (_, plane):
        assert served_by(plane) == "a"
        assert plane.only_record().record.canary is None


def test_a_route_without_a_canary_has_none(tmp_path: Path) -> None:
    with serving(tmp_path, route="on_failure: [b]", default=ALL) as (_, plane):
        assert served_by(plane) == "a"


def test_only_the_stage_shadow_is_shown_copies(tmp_path: Path) -> None:
    shown = Arm("b", "a", 0.0, is_shadow=True)
    with serving(tmp_path, default=shown) as (_, plane):
        assert served_by(plane) == "a"
        plane.wait_until(lambda: copies(plane) == 1)
        take(plane, default=Arm("b", "a", 0.0))
        assert served_by(plane) == "a"
        time.sleep(0.05)
        assert copies(plane) == 1


def test_a_rollback_leaves_what_is_under_way(tmp_path: Path) -> None:
    slow: Script = [request, stall(0.3), whole_answer("late")]
    with serving(tmp_path, slow, default=ALL) as (b, plane), plane.client() as client:
        client.send(post(ASKED))
        plane.wait_until(lambda: b.connections)
        take(plane)
        assert served_by(plane) == "a"
        answer = client.read()
        assert (answer.status, answer.header("x-pointsman-backend")) == (200, "b")
        assert b"late" in answer.body


def test_a_sticky_conversation_that_began_before_stays_until_all_go(tmp_path: Path) -> None:
    with serving(tmp_path, route=f"{ROUTE}, sticky: conversation") as (_, plane):
        assert served_by(plane) == "a"
        take(plane, default=Arm("b", "a", 0.999))  # all but one of a thousand
        assert served_by(plane) == "a"
        take(plane, default=ALL)
        assert served_by(plane) == "b"
        take(plane)
        assert served_by(plane) == "a"
