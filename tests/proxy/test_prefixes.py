"""What is remembered of conversations for prefix affinity, and for how long."""

import time
from pathlib import Path
from typing import Any

import pytest

from pointsman.tokens import Usage
from proxy import prefixes
from proxy.prefixes import Prefixes
from tests.support.plane import Plane, ask, completion, config
from tests.support.records import make_record
from tests.support.scripted import ScriptedUpstream, answering, response


def answered(conversation: str = "c", **changes: Any) -> Any:
    plain = {"conversation": conversation, "usage": Usage(2000, 5), "backend": "a"}
    return make_record(**{**plain, "caller": "app", **changes})


def test_who_answered_last_holds_the_prefix() -> None:
    made = Prefixes()
    made.answered(answered(), 1.0)
    made.answered(answered(backend="b", usage=Usage(3000, 5)), 2.0)
    found = made.held("app", "c", 3.0)
    assert found is not None
    assert (found.backend, found.tokens) == ("b", 3000)
    assert made.held("other", "c", 3.0) is None
    assert made.held("app", "c", 400.0) is None


@pytest.mark.parametrize("changes", [{"usage": Usage(None, 5)}, {"usage": Usage(500, 5)}])
def test_a_short_prompt_or_one_of_unknown_length_holds_nothing(changes: dict[str, Any]) -> None:
    made = Prefixes()
    made.answered(answered(), 1.0)
    made.answered(answered(**changes), 2.0)
    assert made.held("app", "c", 3.0) is None


@pytest.mark.parametrize(
    "changes", [{"status": "error"}, {"backend": None}, {"conversation": None}]
)
def test_what_was_not_answered_changes_nothing(changes: dict[str, Any]) -> None:
    made = Prefixes()
    made.answered(answered(), 1.0)
    made.answered(answered(**changes), 2.0)
    assert made.held("app", "c", 3.0) is not None


def test_the_oldest_conversation_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixes, "CONVERSATIONS_MAX", 2)
    made = Prefixes()
    for name in ("one", "two", "one", "three"):
        made.answered(answered(name), 1.0)
    assert [made.held("app", name, 2.0) is not None for name in ("one", "two", "three")] == [
        True, False, True,
    ]  # fmt: skip


def test_a_conversation_goes_back_to_who_has_read_it(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 4000, "completion_tokens": 5, "total_tokens": 4005}
    answer = response(completion(usage=usage))
    with (
        ScriptedUpstream([answering(lambda request: answer)] * 9) as a,
        ScriptedUpstream([answering(lambda request: answer)] * 9) as b,
    ):
        declared = "adapter: openai, base_url: '{}', model: m, expect: {{first_token: 1s,"
        declared += " tokens_per_second: 9, completion_tokens: 5}}, price: {{input: {}, "
        declared += "cached_input: 0.1, output: 1}}"
        text = config(
            "  default: {candidates: [a, b]}\n  dear: {candidates: [a]}",
            a=declared.format(a.base_url, 1.0),
            b=declared.format(b.base_url, 0.9),
        )
        body = {"messages": [{"role": "user", "content": "x" * 16_000}], "model": "auto"}
        with Plane(tmp_path, text) as plane:
            assert ask(plane, body).header("x-pointsman-backend") == "b"
            other = {**body, "messages": [{"role": "user", "content": "y" * 16_000}]}
            plane.call(lambda: plane.data_plane.prefixes.answered(_by_a(plane), time.monotonic()))
            assert ask(plane, body).header("x-pointsman-backend") == "a"
            assert ask(plane, other).header("x-pointsman-backend") == "b"
            records = plane.wait_for_records(3)
    reasons = {one.backend: one.reason for one in records[1].record.candidates}
    assert "about 4000 tokens of the prompt cached there" in reasons["a"]


def _by_a(plane: Plane) -> Any:
    """As if `a` had answered the conversation."""
    (kept,) = plane.wait_for_records(1)
    return make_record(
        conversation=kept.record.conversation, caller=None, backend="a", usage=Usage(4000, 5)
    )
