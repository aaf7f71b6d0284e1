from learning.raw_row import body_of, jsonl_raw, left_out

WHOLE = {"status": "ok", "complete": True, "http_status": 200, "request": "{}", "response": "{}"}


def test_why_a_capture_is_left_out():
    assert left_out(WHOLE) is None
    assert left_out({**WHOLE, "status": "upstream_cut"}) == "cut_stream"
    assert left_out({**WHOLE, "complete": False}) == "cut_stream"
    assert left_out({**WHOLE, "http_status": 500}) == "failed"
    assert left_out({**WHOLE, "response": None}) == "not_captured"


def test_a_body_is_text_or_base64_or_not_there():
    assert body_of({"request": "é"}, "request") == "é".encode()
    assert body_of({"request_base64": "/w=="}, "request") == b"\xff"
    assert body_of({}, "request") is None


def test_nothing_empty_is_written():
    assert jsonl_raw({"id": "i", "labels": {}, "x": None, "request": "[1]"}) == (
        b'{"id":"i","request":"[1]"}'
    )
