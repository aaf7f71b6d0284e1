"""F48: a hedge whose loser ends later: aborted, its cost on record once, not a second answer."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import make_certificates
from tests.support.hedged import HEDGE, ready_to_hedge
from tests.support.laboratory import Lab, over_tls
from tests.support.plane import (
    ASKED,
    DONE,
    EVENTS,
    STREAMED,
    stream_answer,
    usage_event,
    whole_answer,
)
from tests.support.scripted import ScriptedUpstream, request, stall, until_closed

STREAM = stream_answer(EVENTS, usage_event() + DONE)


@pytest.mark.timed
@pytest.mark.parametrize(
    ("body", "answer"), [(ASKED, whole_answer()), (STREAMED, STREAM)], ids=["whole", "stream"]
)
@pytest.mark.parametrize("loser", ["first", "second"])
def test_f48_the_loser_is_aborted_and_leaves_nothing_but_its_name(
    tmp_path: Path, loser: str, body: dict[str, Any], answer: bytes
) -> None:
    late = [request, stall(0.6), answer, until_closed]
    soon = [request, stall(0.15 if loser == "second" else 0.0), answer]
    scripts = (late, soon) if loser == "first" else (soon, late)
    with ScriptedUpstream(*scripts) as a, Lab(tmp_path, route=HEDGE, a=a.base_url) as lab:
        ready_to_hedge(lab.plane)
        answered = lab.ask(body)
        at_s = time.monotonic()
        assert (answered.status, answered.header("x-pointsman-attempts")) == (200, "2")
        aborted = a.wait_until_finished(1 if loser == "first" else 2)
        assert aborted.closed_at is not None
        assert aborted.closed_at - at_s < 0.1
        time.sleep(0.7)  # the loser's answer would have come by now
        (kept,) = lab.balance()
        assert kept.response == answered.body
        lost, won = sorted(kept.record.attempts, key=lambda one: one.won)
        assert (lost.error_type, lost.cost_usd, lost.body) == ("hedge_lost", None, None)
        assert {lost.kind, won.kind} == {"primary", "hedge"}
        assert kept.record.cost_usd == won.cost_usd == pytest.approx(13e-6)
        assert lab.plane.count("cost_usd_total", backend="a") == won.cost_usd
        assert lab.plane.call(lambda: lab.plane.data_plane.watch.unavailable) == {}


@pytest.mark.timed
def test_f48_over_tls_the_loser_sees_the_reset_as_soon(tmp_path: Path) -> None:
    tls = make_certificates(tmp_path).server_context
    scripts = ([request, until_closed], [request, whole_answer()])
    with ScriptedUpstream(*scripts, tls=tls) as a:
        url = over_tls(a.base_url)
        with Lab(tmp_path, route=HEDGE, a=url) as lab:
            ready_to_hedge(lab.plane)
            assert lab.ask().header("x-pointsman-attempts") == "2"
            at_s = time.monotonic()
            aborted = a.wait_until_finished()
            assert aborted.closed_at is not None
            assert aborted.closed_at - at_s < 0.1
