"""Which answers get a confidence, and which header and record carry it."""

from pathlib import Path

from policies.fitted import GIVEN_NAMES, Fitted, Given
from policies.lock import Lock, RouteLock, route_digest, write_lock
from policies.text_model import Head, TextModel, pack_grams
from proxy.locked import with_lock
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


def test_under_a_promise_its_model_says_how_far_an_answer_is_right(tmp_path: Path) -> None:
    weights = tuple(float(name == "confidence") for name in GIVEN_NAMES)
    none = pack_grams(10, [], [], [[]])
    fitted = Fitted("d", None, TextModel((none, none), (Head("a", 0.0, weights, {}),), 40))
    good, bad = completion('{"amount": 1}'), completion("no amount")
    script = [request, response(good), request, response(bad)]
    promised = f"{CHECKED}, require: {{error: {{max: 9%, reference: a}}}}"
    with serving(tmp_path, script, route=promised) as (_, plane):
        data_plane = plane.data_plane
        written = data_plane.wiring.configuration.written
        proof = RouteLock(
            0.6, 0.09, 0.95, "a", 200, 3, 0.04, route_digest(written.default, written.backends),
            "labels", "d",
        )  # fmt: skip
        text = write_lock(Lock({"default": proof})).decode()
        locked = with_lock(data_plane.wiring.configuration, text, model="d")
        plane.call(lambda: data_plane.configure(locked, None, fitted))
        assert set(data_plane.wiring.configuration.promises.certified) == {"default"}
        with plane.client() as client:
            trusted = client.ask(WANTS_JSON).header("x-pointsman-confidence")
            refused = client.ask(WANTS_JSON).header("x-pointsman-confidence")
        kept = [one.record for one in plane.wait_for_records(2)]
    wanted = fitted.trust("a", Given("hi", '{"amount": 1}', 1.0), kept[0].task or "")
    assert wanted is not None
    assert (trusted, refused) == (f"{wanted:.4f}", "0.0000")
    assert [one.confidence for one in kept] == [wanted, 0.0]
    assert [one.attempts[0].confidence for one in kept] == [1.0, 0.0]  # as it was worked out


def test_with_other_models_than_it_was_proved_with_nothing_is_promised(tmp_path: Path) -> None:
    promised = f"{CHECKED}, require: {{error: {{max: 9%, reference: a}}}}"
    with serving(tmp_path, [], route=promised) as (_, plane):
        data_plane = plane.data_plane
        written = data_plane.wiring.configuration.written
        proof = RouteLock(
            0.6, 0.09, 0.95, "a", 200, 3, 0.04, route_digest(written.default, written.backends),
            "labels", "d",
        )  # fmt: skip
        text = write_lock(Lock({"default": proof})).decode()
        locked = with_lock(data_plane.wiring.configuration, text, model="d")
        assert set(locked.promises.certified) == {"default"}  # the file says d by now
        plane.call(lambda: data_plane.configure(locked, None))
        found = data_plane.wiring.configuration.promises
        assert found.void == {"default": "the model of its confidences has changed"}
