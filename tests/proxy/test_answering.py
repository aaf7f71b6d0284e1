"""The bytes around an answer's body."""

from pathlib import Path

import pytest

from proxy.answering import clean_request_id, decimal, union_s
from tests.support.plane import ASKED, STREAMED, serving, whole_answer
from tests.support.raw_client import post
from tests.support.scripted import request


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0.0, b"0"), (0.004, b"0.004"), (1.5, b"1.5"), (12.0, b"12"), (1e-7, b"0.0000001")],
)
def test_dollars_are_written_without_an_exponent(usd: float, text: bytes) -> None:
    assert decimal(usd) == text


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"abc-1._X", "abc-1._X"),
        (b"a b\r\nc", "abc"),
        (b"\xff\x1b[31m", "31m"),
        (b"", None),
        (b"!!", None),
        (b"x" * 10_000, "x" * 128),
    ],
)
def test_a_clients_request_id_is_cleaned_and_cut(sent: bytes, kept: str | None) -> None:
    assert clean_request_id(sent) == kept


def test_our_own_request_id_stands_in_only_where_the_backend_sent_none(tmp_path: Path) -> None:
    named = whole_answer("hello", "x-request-id: req_theirs")
    with serving(tmp_path, [request, named, request, whole_answer()]) as (_, plane):
        with plane.client() as client:
            assert client.ask(ASKED).header("x-request-id") == "req_theirs"
            ours = client.ask(ASKED).header("x-request-id")
        assert ours is not None
        assert ours.startswith("req_")
        assert len(ours) == 36


def test_an_old_client_gets_neither_chunks_nor_keep_alive(tmp_path: Path) -> None:
    with serving(tmp_path, [request, whole_answer()]) as (_, plane), plane.client() as client:
        client.send(post(STREAMED).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        answer = client.read_head()
        assert answer.header("transfer-encoding") is None


@pytest.mark.parametrize(
    ("spans", "waited"),
    [
        ([], 0.0),
        ([(1, 2)], 2.0),
        ([(1, 2), (4, 1)], 3.0),
        ([(1, 4), (2, 1)], 4.0),
        ([(1, 4), (2, 5), (3, 1), (8, 1)], 7.0),
    ],
    ids=["none", "one", "one-after-the-other", "inside", "overlapping"],
)
def test_what_several_were_waited_for_is_counted_once(
    spans: list[tuple[float, float]], waited: float
) -> None:
    assert union_s(spans) == waited
