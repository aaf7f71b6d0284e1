"""The books balance where all is well, and say what is wrong where the journal says otherwise."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.support.laboratory import Lab
from tests.support.plane import ASKED, DONE, EVENTS, STREAMED, Kept, stream_answer, whole_answer
from tests.support.scripted import ScriptedUpstream, Step, chunk, chunked_head, fin, request


def changed(kept: Kept, **fields: object) -> Kept:
    return dataclasses.replace(kept, record=msgspec.structs.replace(kept.record, **fields))


FORGED: dict[str, Callable[[list[Kept]], list[Kept]]] = {
    "missing": lambda records: records[:1],
    "twice": lambda records: [*records, records[0]],
    "another request": lambda records: [changed(records[0], request=b"{}"), records[1]],
    "another response": lambda records: [
        dataclasses.replace(records[0], response=(records[0].response or b"")[:-1]),
        records[1],
    ],
    "not complete": lambda records: [changed(records[0], complete=False), records[1]],
    "another status": lambda records: [changed(records[0], http_status=500), records[1]],
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_balance_with_the_true_journal_and_no_other(
    tmp_path: Path, forge: Callable[[list[Kept]], list[Kept]]
) -> None:
    script: list[Step] = [request, whole_answer(), request, stream_answer(EVENTS, DONE)]
    with ScriptedUpstream(script) as up, Lab(tmp_path, a=up.base_url) as lab:
        lab.ask(ASKED)
        lab.ask(STREAMED)
        records = lab.balance()
        assert lab.books.differences(forge(records)) != []


def test_a_cut_answer_marked_complete_is_noticed(tmp_path: Path) -> None:
    script: list[Step] = [request, chunked_head(), chunk(EVENTS[:100] + b"\n\n"), fin]
    with ScriptedUpstream(script) as up, Lab(tmp_path, a=up.base_url) as lab:
        assert not lab.ask(STREAMED).is_whole
        (kept,) = lab.balance()
        wrong = lab.books.differences([changed(kept, complete=True)])
        assert "its answer is not whole" in wrong[0]


def test_a_client_that_leaves_may_have_seen_less(tmp_path: Path) -> None:
    script: list[Step] = [request, chunked_head(), chunk(EVENTS), chunk(EVENTS)]
    with ScriptedUpstream(script) as up, Lab(tmp_path, a=up.base_url) as lab:
        with lab.leaving(STREAMED) as leaving:
            assert leaving.read_some().status == 200
        (kept,) = lab.balance()
        forged = dataclasses.replace(kept, response=b"something else")
        assert lab.books.differences([forged]) != []


def forget_an_entry(directory: Path) -> None:
    with ScriptedUpstream([request, whole_answer()]) as up, Lab(directory, a=up.base_url) as lab:
        lab.ask(ASKED)
        lab.books.entries.clear()


def test_an_unbalanced_lab_fails_its_test(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        forget_an_entry(tmp_path)
