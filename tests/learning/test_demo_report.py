"""The demo's table and verdict."""

from rich.console import Console

from learning.demo_questions import Question
from learning.demo_report import Asked, faults, gpt_4_cost_usd, is_escalated, story, summary, table

PARIS = Question("ask", "What is the capital of France?", "Paris")
LOCAL = {
    "backend": "local",
    "complete": True,
    "cost_usd": 0.00001,
    "confidence": 0.7,
    "attempts": [{"kind": "primary", "backend": "local", "confidence": 0.7}],
}
ESCALATED = {
    "backend": "gpt-4",
    "complete": True,
    "cost_usd": 0.002,
    "confidence": 0.95,
    "prompt_tokens": 20,
    "completion_tokens": 110,
    "reasoning_tokens": 100,
    "attempts": [
        {"kind": "primary", "backend": "local", "confidence": 0.31},
        {"kind": "escalation", "backend": "gpt-4", "confidence": 0.95},
    ],
}
ASKED = [
    Asked(PARIS, is_stream=False, latency_s=0.2, text="Paris", decision_id="1"),
    Asked(PARIS, is_stream=True, latency_s=1.2, text="Lyon", decision_id="2"),
]
CAPTURES = {"1": LOCAL, "2": ESCALATED}


def printed(*lines: object) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    for line in lines:
        console.print(line)
    console.file.close()
    return console.export_text()


def test_the_table_tells_who_answered_at_what_cost_and_why() -> None:
    text = printed(table(ASKED, CAPTURES))
    assert "0.000010" in text
    assert "1200" in text
    assert "stream · local 0.31, not sure enough: escalated to gpt-4" in text


def test_a_failed_attempt_is_told_by_its_error() -> None:
    capture = {
        "attempts": [
            {"kind": "primary", "backend": "a", "error_type": "reset"},
            {"kind": "retry", "backend": "a", "error_type": "timeout"},
            {"kind": "fallback", "backend": "b"},
        ]
    }
    assert story(capture) == "a reset: retried on a; a timeout: fell back to b"
    assert not is_escalated(capture)
    cut = {"kind": "primary", "backend": "a", "finish_reason": "length", "confidence": 0.0}
    failed = {"kind": "escalation", "backend": "b", "finish_reason": "stop", "confidence": 0.0}
    last = {"kind": "escalation", "backend": "c"}
    assert story({"attempts": [cut, failed, last]}) == (
        "a cut by its token limit: escalated to b; b failed its checks: escalated to c"
    )
    assert story({}) == ""


def test_the_summary_counts() -> None:
    lines = summary(ASKED, CAPTURES)
    assert lines[0] == "answered by: local 1, gpt-4 1"
    assert lines[1] == "escalated: 1 of 2"
    assert lines[2].startswith("right: 1 of 2")
    assert "$0.002010" in lines[3]


def test_reasoning_tokens_are_no_part_of_what_gpt_4_would_have_written() -> None:
    assert gpt_4_cost_usd(ESCALATED) == (20 * 30 + 10 * 60) / 1e6


def test_a_good_run_has_no_faults() -> None:
    assert faults(ASKED, CAPTURES, exported=2) == []


def test_what_failed_is_named() -> None:
    failed = Asked(PARIS, is_stream=False, latency_s=0.1, error="APIError: no")
    assert any("APIError" in fault for fault in faults([failed], {}, exported=0))
    assert any("no record" in fault for fault in faults(ASKED, {"1": LOCAL}, exported=1))
    assert any("exported" in fault for fault in faults(ASKED, CAPTURES, exported=1))
    cut = CAPTURES | {"2": ESCALATED | {"complete": False}}
    assert any("not complete" in fault for fault in faults(ASKED, cut, exported=2))
    assert any("escalated" in fault for fault in faults(ASKED[:1], CAPTURES, exported=1))
    assert any("local model" in fault for fault in faults(ASKED[1:], CAPTURES, exported=1))
