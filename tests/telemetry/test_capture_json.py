import pytest

from telemetry.capture_json import iso_time, milliseconds
from telemetry.queries import capture, decision
from tests.support.records import keep, make_record


def test_moments_are_iso_text_with_microseconds():
    assert iso_time(1_760_000_000_000_001) == "2025-10-09T08:53:20.000001Z"


def test_unknown_spans_stay_unknown():
    assert milliseconds(None) is None
    assert milliseconds(1500) == 1.5


@pytest.mark.parametrize("body", [b"\xff\xfe", b"{}", "ü\r\n".encode(), b""])
def test_every_body_comes_back_as_its_bytes(tmp_path, body):
    record = make_record(request=body)
    keep(tmp_path, [record])
    found = capture(tmp_path, record.id)
    if body == b"\xff\xfe":
        assert found["request_base64"] == "//4="
    else:
        assert found["request"].encode() == body


def test_off_knows_nothing_it_was_not_told(tmp_path):
    record = make_record(capture="off")
    keep(tmp_path, [record])
    found = capture(tmp_path, record.id)
    unknown = ("http_status", "caller", "stream", "escalated", "total_ms", "reason", "request")
    assert [found[name] for name in unknown] == [None] * len(unknown)
    assert found["simulated"] is False
    assert decision(tmp_path, record.id) is None
