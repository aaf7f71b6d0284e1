"""Questions about earlier requests: asked by workers, answered by the keeper, never in the way."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import proxy.lookup
from proxy.control import Answer, Question
from proxy.lookup import OPEN_MAX, Finder, Lookup, Unanswered, found_for
from telemetry.ids import new_id
from telemetry.queries import ANOTHERS
from tests.support.control_pair import FakeWorker, Pair, until
from tests.support.records import fold, make_record, write_journal
from tests.support.served import Served
from tests.support.simple_config import write_config


class Asking(FakeWorker):
    """A worker with a lookup."""

    def __init__(self) -> None:
        super().__init__()
        self.lookup = Lookup(asyncio.get_running_loop())

    def answered(self, answer: Answer) -> None:
        self.lookup.answered(answer)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    made = Pair(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def looked_up(pair: Pair, tmp_path: Path) -> AsyncIterator[Lookup]:
    """A lookup joined to a finder by a real socket."""
    finder = Finder(tmp_path)
    hub = await pair.hub(on_question=finder.ask)
    yield await lookup_of(pair)
    hub.close()
    finder.close()


async def lookup_of(pair: Pair) -> Lookup:
    worker = Asking()
    link = pair.link(0, worker)
    worker.lookup.through(link.ask)
    await until(lambda: worker.generation == 0 and link._writer is not None)
    return worker.lookup


async def test_a_decision_is_found_by_its_caller_alone(looked_up: Lookup, tmp_path: Path) -> None:
    record = make_record()
    await asyncio.to_thread(write_journal, tmp_path, [record])
    for _ in range(2):
        found = await looked_up.decision(record.id, "billing")
        assert found is not None
        assert (found["decision_id"], found["chosen"]) == (record.id, "local")
        assert await looked_up.decision(record.id, "other") is None
        assert await looked_up.decision(record.id, None) is None
        await asyncio.to_thread(fold, tmp_path)


async def test_what_nobody_asked_is_not_found(looked_up: Lookup) -> None:
    assert await looked_up.decision(new_id(), None) is None
    assert await looked_up.decision("../../etc/passwd", None) is None
    assert await looked_up.decision("x" * 1000, None) is None
    assert await looked_up.response_backend("resp_unknown", None) is None


async def test_an_answers_own_id_leads_to_its_backend(looked_up: Lookup, tmp_path: Path) -> None:
    record = make_record(api="responses", provider_response_id="resp_1", caller=None)
    await asyncio.to_thread(write_journal, tmp_path, [record])
    assert await looked_up.response_backend("resp_1", None) == "local"
    assert await looked_up.response_backend("resp_1", "billing") == ANOTHERS


async def test_many_questions_are_answered_each_with_its_own(
    looked_up: Lookup, tmp_path: Path
) -> None:
    records = [make_record() for _ in range(OPEN_MAX)]
    await asyncio.to_thread(write_journal, tmp_path, records)
    found = await asyncio.gather(*(looked_up.decision(one.id, "billing") for one in records))
    assert [one and one["decision_id"] for one in found] == [one.id for one in records]


async def test_without_a_keeper_nothing_is_known_at_once() -> None:
    lookup = Lookup(asyncio.get_running_loop())
    with pytest.raises(Unanswered):
        await lookup.decision(new_id(), None)
    assert await lookup.response_backend("resp_1", None) is None
    assert lookup.unanswered == 2


async def test_the_link_says_whether_the_keeper_is_there(pair: Pair) -> None:
    link = pair.link(0, FakeWorker())
    assert not link.ask(Question(1, "decision", "x", None))
    hub = await pair.hub()
    await until(lambda: hub.connected == 1)
    assert link.ask(Question(1, "decision", "x", None))
    hub.close()


async def test_a_keeper_that_says_nothing_is_waited_for_no_longer_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proxy.lookup, "ANSWER_S", 0.05)
    lookup = Lookup(asyncio.get_running_loop())
    asked: list[Question] = []
    lookup.through(lambda question: asked.append(question) or True)
    with pytest.raises(Unanswered):
        await lookup.decision(new_id(), None)
    lookup.answered(Answer(asked[0].number, b'{"late": 1}'))
    assert repr(lookup) == "<Lookup open=0 unanswered=1>"


async def test_open_questions_are_bounded() -> None:
    lookup = Lookup(asyncio.get_running_loop())
    sent: list[Question] = []
    lookup.through(lambda question: sent.append(question) or True)
    loop = asyncio.get_running_loop()
    asking = [loop.create_task(lookup.decision(new_id(), None)) for _ in range(OPEN_MAX)]
    await until(lambda: len(sent) == OPEN_MAX)
    with pytest.raises(Unanswered):
        await lookup.decision(new_id(), None)
    for question in sent:
        lookup.answered(Answer(question.number, b"null"))
    assert await asyncio.gather(*asking) == [None] * OPEN_MAX


async def test_a_keeper_with_too_many_questions_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy.lookup, "WAITING_MAX", 1)
    finder = Finder(tmp_path)
    answers: list[Answer] = []
    for number in range(3):
        finder.ask(Question(number, "decision", new_id(), None), answers.append)
    await until(lambda: len(answers) == 3)
    assert sorted((one.number, one.found) for one in answers) == [
        (0, b"null"), (1, None), (2, None),
    ]  # fmt: skip
    finder.close()


async def test_a_question_nobody_waits_for_any_more_is_not_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_for: list[str] = []

    def slowly(directory: Path, question: Question) -> bytes:
        looked_for.append(question.id)
        time.sleep(0.1)
        return b"null"

    monkeypatch.setattr(proxy.lookup, "found_for", slowly)
    monkeypatch.setattr(proxy.lookup, "ANSWER_S", 0.05)
    finder = Finder(tmp_path)
    answers: list[Answer] = []
    for number in range(3):
        finder.ask(Question(number, "decision", str(number), None), answers.append)
    await until(lambda: len(answers) == 3)
    assert looked_for == ["0"]
    assert [one.found for one in answers] == [b"null", None, None]
    finder.close()


async def test_a_store_that_cannot_be_read_gives_no_answer_and_is_logged(
    looked_up: Lookup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> bytes:
        raise OSError("disk is gone")

    monkeypatch.setattr(proxy.lookup, "found_for", fail)
    with pytest.raises(Unanswered):
        await looked_up.decision(new_id(), None)
    assert "disk is gone" in capsys.readouterr().err


def test_a_decision_can_be_found_by_any_worker_and_survives_restarts(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Served(config, workers=2) as served:
        identifier = decided(served.chat)
        served.kill_child("keeper")
        served.kill_child("worker 0")
    with Served(config):
        data = tmp_path / "data"
        found = json.loads(found_for(data, Question(1, "decision", identifier, None)))
    assert found["decision_id"] == identifier


def decided(chat: Callable[[], Any]) -> str:
    status, headers, _ = chat()
    assert status == 200
    return str(headers["x-pointsman-decision-id"])
