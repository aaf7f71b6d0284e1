"""F48: a hedge whose loser ends later. Hedging is not built yet.

What holds without it is played here: the word is taken with a warning and adds no call. The last
test fails on the day that hedging is built, and is to be replaced by the row itself: the loser is
aborted at once, its cost is on record once, and its answer is not kept as a second one.
"""

from pathlib import Path

from policies.unbuilt import UNBUILT
from tests.support.command import command
from tests.support.laboratory import Lab
from tests.support.plane import config, whole_answer
from tests.support.scripted import ScriptedUpstream, request, stall, until_closed
from tests.support.simple_config import write_config

HEDGE = "hedge: {after: p95, max_extra_cost: 5%}"


def test_f48_the_word_is_taken_and_said_to_have_no_effect(tmp_path: Path) -> None:
    text = config(f"  default: {{candidates: [a], {HEDGE}}}", a="http://127.0.0.1:1/v1")
    checked = command("check", config=write_config(tmp_path, text))
    assert checked.code == 0
    assert "accepted, not yet in effect: hedge" in checked.output + checked.errors


def test_f48_a_late_answer_is_waited_for_and_paid_once(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, stall(0.4), whole_answer()]) as a,
        ScriptedUpstream([until_closed]) as b,
        Lab(tmp_path, route=f"on_failure: [b], {HEDGE}", a=a.base_url, b=b.base_url) as lab,
    ):
        answer = lab.ask()
        assert (answer.status, answer.header("x-pointsman-attempts")) == (200, "1")
        (attempt,) = lab.only_record().record.attempts
        assert float(answer.header("x-pointsman-cost-usd") or "nan") == attempt.cost_usd
        assert (len(a.requests), len(b.connections)) == (1, 0)


def test_f48_hedging_is_still_to_be_built() -> None:
    assert "hedge" in UNBUILT, "built: play row F48 here, and take this test out"
