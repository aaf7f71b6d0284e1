from hashlib import sha256

from telemetry.capture_level import reduced
from telemetry.record import RequestRecord
from tests.support.records import REQUEST, RESPONSE, make_attempt, make_record


def test_full_keeps_all():
    record = make_record()
    assert reduced(record) is record


def test_metadata_keeps_hashes_and_lengths_instead_of_bodies():
    kept = reduced(make_record(capture="metadata", attempts=(make_attempt(body=b"secret"),)))
    assert kept.request is None
    assert kept.response is None
    assert kept.attempts[0].body is None
    assert kept.request_sha256 == sha256(REQUEST).digest()
    assert kept.response_sha256 == sha256(RESPONSE).digest()
    assert (kept.request_bytes, kept.response_bytes) == (len(REQUEST), len(RESPONSE))
    assert kept.caller == "billing"


def test_metadata_keeps_what_the_writer_knows_of_a_body_it_did_not_hold():
    kept = reduced(
        make_record(capture="metadata", response=None, response_sha256=b"h", response_bytes=7)
    )
    assert (kept.response_sha256, kept.response_bytes) == (b"h", 7)


def test_off_keeps_the_bill_and_nothing_that_was_said():
    record = make_record(capture="off", user="someone", conversation="c", model_reported="m")
    kept = reduced(record)
    bill = {"id", "ts_us", "api", "status", "complete", "capture", "route", "backend", "usage"}
    bill |= {"usage_estimated", "cost_usd", "price_version", "is_simulated", "source"}
    default = RequestRecord(
        id="", ts_us=0, api="", status="ok", complete=False, capture="full", http_status=None
    )
    for name in RequestRecord.__struct_fields__:
        expected = getattr(record, name) if name in bill else getattr(default, name)
        assert getattr(kept, name) == expected, name
