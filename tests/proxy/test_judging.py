"""Which answers get a confidence, and which header and record carry it."""

from pathlib import Path

from tests.support.plane import ASKED, completion, serving
from tests.support.scripted import request, response

CHECKED = "confidence: {from: [schema], accept: 0.5}"
WANTS_JSON = {
    **ASKED,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object", "required": ["amount"]}},
    },
}


def test_an_answer_is_judged_where_its_route_says_how(tmp_path: Path) -> None:
    good, bad = completion('{"amount": 1}'), completion("no amount")
    script = [request, response(good), request, response(bad)]
    with serving(tmp_path, script, route=CHECKED) as (_, plane), plane.client() as client:
        assert client.ask(WANTS_JSON).header("x-pointsman-confidence") == "1.0000"
        assert client.ask(WANTS_JSON).header("x-pointsman-confidence") == "0.0000"
        assert [kept.record.confidence for kept in plane.wait_for_records(2)] == [1.0, 0.0]


def test_no_answer_is_judged_where_the_route_does_not_ask(tmp_path: Path) -> None:
    with serving(tmp_path, [request, response(completion("x"))]) as (_, plane):
        with plane.client() as client:
            assert client.ask(WANTS_JSON).header("x-pointsman-confidence") is None
        assert plane.only_record().record.confidence is None
