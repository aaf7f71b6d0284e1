"""One request, wherever it is by now."""

import pytest

import telemetry.finding
from telemetry.finding import find_decision, find_response_backend
from telemetry.ids import new_id
from telemetry.queries import ANOTHERS
from tests.support.records import fold, keep, make_record, write_journal


def test_a_decision_reads_the_same_before_and_behind_the_fold(tmp_path):
    record = make_record()
    write_journal(tmp_path, [record])
    before = find_decision(tmp_path, record.id)
    fold(tmp_path)
    behind = find_decision(tmp_path, record.id)
    assert before is not None
    assert before == behind
    assert (before.caller, before.decision["decision_id"]) == ("billing", record.id)
    assert len(before.decision["candidates"]) == 2


def test_a_response_is_found_before_and_behind_the_fold(tmp_path):
    write_journal(tmp_path, [make_record(api="responses", provider_response_id="resp_1")])
    for _ in range(2):
        assert find_response_backend(tmp_path, "resp_1", "billing") == "local"
        assert find_response_backend(tmp_path, "resp_1", None) == ANOTHERS
        assert find_response_backend(tmp_path, "resp_", "billing") is None
        fold(tmp_path)


def test_an_id_inside_a_body_is_not_the_answers_own(tmp_path):
    body = b'{"model":"auto","previous_response_id":"resp_1"}'
    write_journal(tmp_path, [make_record(api="responses", request=body)])
    assert find_response_backend(tmp_path, "resp_1", "billing") is None


@pytest.mark.parametrize("is_folded", [True, False])
def test_nothing_is_told_of_requests_that_were_to_be_forgotten(tmp_path, is_folded):
    record = make_record(capture="off")
    (keep if is_folded else write_journal)(tmp_path, [record])
    assert find_decision(tmp_path, record.id) is None


def test_what_is_folded_while_it_is_looked_for_is_found(tmp_path, monkeypatch):
    record = make_record(api="responses", provider_response_id="resp_1")
    write_journal(tmp_path, [record])

    def folded_just_now(directory, piece):
        fold(directory)
        return iter(())

    monkeypatch.setattr(telemetry.finding, "unfolded_records", folded_just_now)
    assert find_decision(tmp_path, record.id) is not None


def test_nobody_made_it(tmp_path):
    assert find_decision(tmp_path, new_id()) is None
    assert find_response_backend(tmp_path, "resp_\ud800", None) is None
