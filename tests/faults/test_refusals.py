"""F1-F5: a backend that answers, and not with an answer."""

import json
import time
from pathlib import Path

import pytest

from tests.support.laboratory import Lab
from tests.support.plane import (
    ASKED,
    DONE,
    STREAMED,
    completion,
    error_answer,
    event,
    whole_answer,
)
from tests.support.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    Step,
    answering,
    chunk,
    chunked_head,
    request,
    response,
    until_closed,
)

LIMITS = (
    "retry-after: 1",
    "x-ratelimit-limit-requests: 60",
    "x-ratelimit-remaining-requests: 0",
    "x-ratelimit-reset-requests: 1s",
)
LIMITED = error_answer("429 Too Many Requests", *LIMITS, code="rate_limit_exceeded")
SPENT = error_answer("429 Too Many Requests", code="insufficient_quota", type="insufficient_quota")
GOOD = answering(lambda asked: whole_answer())


# -- F1: 429 with Retry-After ---------------------------------------------------------------------


@pytest.mark.timed
def test_f01_the_next_backend_is_asked_at_once(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([answering(lambda asked: LIMITED)]) as a,
        ScriptedUpstream([GOOD]) as b,
        Lab(tmp_path, route="on_failure: [b]", a=a.base_url, b=b.base_url) as lab,
    ):
        started_s = time.monotonic()
        answer = lab.ask()
        assert time.monotonic() - started_s < 1.0  # not after the second that `a` asked for
        assert (answer.status, answer.header("x-pointsman-backend")) == (200, "b")
        assert len(a.requests) == 1


def test_f01_the_last_429_passes_with_its_headers(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([answering(lambda asked: LIMITED)]) as a,
        Lab(tmp_path, a=a.base_url) as lab,
    ):
        answer = lab.ask(ASKED, "x-pointsman-deadline-ms: 500")  # no time to wait for it
        assert answer.status == 429
        assert answer.body == LIMITED.partition(b"\r\n\r\n")[2]
        assert [f"{name}: {answer.header(name)}" for name, _, _ in map(_parted, LIMITS)] == [
            *LIMITS
        ]
        assert len(a.requests) == 1


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def test_f01_a_rate_limit_is_no_failure_of_the_backend(tmp_path: Path) -> None:
    """Ten in a row, and `a` is asked first again as soon as the wait it asked for is over."""
    said = {"limited": True}
    brief = error_answer("429 Too Many Requests", "retry-after-ms: 20")

    def make(asked: bytes) -> bytes:
        return brief if said["limited"] else whole_answer()

    with (
        ScriptedUpstream([answering(make)]) as a,
        ScriptedUpstream([GOOD]) as b,
        Lab(tmp_path, route="on_failure: [b]", a=a.base_url, b=b.base_url) as lab,
    ):
        for _ in range(10):
            assert lab.ask().header("x-pointsman-backend") == "b"
            time.sleep(0.06)
        said["limited"] = False
        time.sleep(0.1)
        answer = lab.ask()
        assert answer.header("x-pointsman-backend") == "a"
        assert answer.header("x-pointsman-attempts") == "1"


@pytest.mark.timed
def test_f01_nobody_asks_before_the_wait_is_over(tmp_path: Path) -> None:
    said = [LIMITED]

    def make(asked: bytes) -> bytes:
        return said.pop() if said else whole_answer()

    with (
        ScriptedUpstream([answering(make)]) as a,
        ScriptedUpstream([GOOD]) as b,
        Lab(tmp_path, route="on_failure: [b]", a=a.base_url, b=b.base_url) as lab,
    ):
        limited_s = time.monotonic()
        for _ in range(5):
            assert lab.ask().header("x-pointsman-backend") == "b"
        assert len(a.requests) == 1
        assert time.monotonic() - limited_s < 1.0
        time.sleep(1.6)  # a second, and up to half as long again
        assert lab.ask().header("x-pointsman-backend") == "a"


# -- F2: 429 insufficient_quota -------------------------------------------------------------------


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
def test_f02_a_spent_quota_is_not_tried_again(tmp_path: Path, body: dict[str, object]) -> None:
    with (
        ScriptedUpstream([answering(lambda asked: SPENT)]) as a,
        Lab(tmp_path, a=a.base_url) as lab,
    ):
        answer = lab.ask(body)
        assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
        assert answer.header("x-should-retry") == "false"
        assert answer.header("x-pointsman-attempts") == "1"
        assert len(a.requests) == 1


def test_f02_another_backend_answers_and_the_spent_one_is_left_alone(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([answering(lambda asked: SPENT)]) as a,
        ScriptedUpstream([GOOD]) as b,
        Lab(tmp_path, route="on_failure: [b]", a=a.base_url, b=b.base_url) as lab,
    ):
        for _ in range(5):
            assert lab.ask().header("x-pointsman-backend") == "b"
        assert len(a.requests) == 1


# -- F3: passing server errors (their storm: test_storm.py) ---------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
def test_f03_two_retries_are_the_most(tmp_path: Path, status: int) -> None:
    said = error_answer(f"{status} X")
    with (
        ScriptedUpstream([answering(lambda asked: said)]) as a,
        Lab(tmp_path, a=a.base_url) as lab,
    ):
        answer = lab.ask()
        assert (answer.status, answer.body) == (status, said.partition(b"\r\n\r\n")[2])
        assert answer.header("x-should-retry") == "false"
        assert len(a.requests) == 3


# -- F4: refusals that are the client's to mend ---------------------------------------------------

ODD_BODY = b'{ "error" : {"type":null,"message":"caf\\u00e9 1e0", "x": 1E2},\n"more":[ ] }\n'


@pytest.mark.parametrize("status", [400, 403, 404, 422])
@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
def test_f04_a_refusal_passes_byte_for_byte_after_one_attempt(
    tmp_path: Path, status: int, body: dict[str, object]
) -> None:
    said = response(ODD_BODY, "x-request-id: req_1", status=f"{status} X")
    with (
        ScriptedUpstream([answering(lambda asked: said)]) as a,
        ScriptedUpstream([until_closed]) as b,
        Lab(tmp_path, route="on_failure: [b]", a=a.base_url, b=b.base_url) as lab,
    ):
        answer = lab.ask(body)
        assert (answer.status, answer.body) == (status, ODD_BODY)
        assert answer.header("x-request-id") == "req_1"
        assert (len(a.requests), len(b.connections)) == (1, 0)


def test_f04_our_own_credential_refused_is_a_502_and_an_alarm(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = error_answer("401 Unauthorized", code="invalid_api_key")
    with (
        ScriptedUpstream([answering(lambda asked: said)]) as a,
        Lab(tmp_path, a=a.base_url) as lab,
    ):
        answer = lab.ask()
        assert answer.code == (502, "server_error", "upstream_auth")
        assert b"invalid_api_key" not in answer.body
        assert len(a.requests) == 1
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line[:1] == "{"]
    assert any(
        line["level"] in ("warning", "error") and line.get("backend") == "a" for line in lines
    )


# -- F5: what is no answer at all -----------------------------------------------------------------

PAGE = b"<html><body>502 Bad Gateway</body></html>"
USELESS: dict[str, bytes] = {
    "502 HTML": response(PAGE, status="502 Bad Gateway", content_type="text/html"),
    "502 empty": response(b"", status="502 Bad Gateway"),
    "502 JSON of another shape": response(b'{"detail":"x"}', status="502 Bad Gateway"),
    "200 HTML": response(PAGE, content_type="text/html"),
    "200 HTML said to be JSON": response(PAGE),
    "200 empty": response(b""),
    "200 half a JSON": response(completion()[:-9]),
    "200 JSON array": response(b"[]"),
    "200 chunked, empty": chunked_head(content_type="application/json") + LAST_CHUNK,
    "200 stream of HTML": chunked_head() + chunk(PAGE) + LAST_CHUNK,
    "200 stream, empty": chunked_head() + LAST_CHUNK,
}


@pytest.mark.parametrize("said", USELESS.values(), ids=USELESS)
@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
def test_f05_useless_answers_become_a_502_of_ours(
    tmp_path: Path, said: bytes, body: dict[str, object]
) -> None:
    with (
        ScriptedUpstream([answering(lambda asked: said)]) as a,
        Lab(tmp_path, a=a.base_url) as lab,
    ):
        answer = lab.ask(body)
        assert answer.code == (502, "server_error", "upstream_error")
        assert b"html" not in answer.body
        assert answer.header("x-should-retry") == "false"
        assert len(a.requests) <= 3


@pytest.mark.parametrize("said", USELESS.values(), ids=USELESS)
def test_f05_another_backend_answers_instead(tmp_path: Path, said: bytes) -> None:
    script: list[Step] = [request, said, request, said]
    with (
        ScriptedUpstream(script) as a,
        ScriptedUpstream([GOOD]) as b,
        Lab(tmp_path, route="on_failure: [b]", a=a.base_url, b=b.base_url) as lab,
    ):
        answer = lab.ask()
        assert (answer.status, answer.header("x-pointsman-backend")) == (200, "b")


def test_f05_a_stream_that_nobody_asked_for_is_no_answer(tmp_path: Path) -> None:
    """It is refused with its head: one that drips comments would last as long as the deadline."""
    said = chunked_head() + chunk(event("hi", finish="stop") + DONE) + LAST_CHUNK
    endless = [request, chunked_head(), chunk(b": ping\n\n"), until_closed]
    with (
        ScriptedUpstream([request, said, request, said], endless) as a,
        ScriptedUpstream([GOOD, GOOD]) as b,
        Lab(tmp_path, route="on_failure: [b]", a=a.base_url, b=b.base_url) as lab,
    ):
        assert lab.ask(STREAMED).header("x-pointsman-backend") == "a"
        for _ in range(2):
            started_s = time.monotonic()
            answer = lab.ask(ASKED)
            assert (answer.status, answer.header("x-pointsman-backend")) == (200, "b")
            assert time.monotonic() - started_s < 2.0
