"""F15: streams that are odd, broken, huge or come in crumbs pass byte for byte."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.fault_proxy import FaultProxy, slices
from tests.support.laboratory import Lab
from tests.support.plane import DONE, EVENTS, STREAMED, event, stream_answer
from tests.support.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    answering,
    chunk,
    chunked_head,
    repeat,
    request,
)

ASKED = {**STREAMED, "stream_options": {"include_usage": True}}  # nothing is hidden
ODD: dict[str, bytes] = {
    "CR only": EVENTS.replace(b"\n", b"\r") + DONE.replace(b"\n", b"\r"),
    "CRLF": EVENTS.replace(b"\n", b"\r\n") + DONE.replace(b"\n", b"\r\n"),
    "byte order mark": b"\xef\xbb\xbf" + EVENTS + DONE,
    "split characters": event("grüß 😀".encode().decode()) + event("\u2028") + EVENTS + DONE,
    "raw characters": 'data: {"choices":[{"delta":{"content":"grüß 😀"}}]}\n\n'.encode()
    + EVENTS
    + DONE,
    "bad UTF-8": EVENTS + b'data: {"a":"\xff\xfe"}\n\n' + DONE,
    "NUL": b": \x00\n\n" + EVENTS + DONE,
}
UNREADABLE: dict[str, bytes] = {
    "bad JSON": EVENTS + b"data: {nonsense\n\n" + event("x") + DONE,
    "half an event before others": EVENTS + b'data: {"choices":[{"ind\n\n' + event("x") + DONE,
}


@pytest.mark.parametrize("said", [*ODD.values(), *UNREADABLE.values()], ids=[*ODD, *UNREADABLE])
@pytest.mark.parametrize("size", [1, 5, 4096], ids=["bytes", "fives", "whole"])
def test_f15_odd_streams_pass_unchanged(tmp_path: Path, said: bytes, size: int) -> None:
    """Cut up by a relay, so that reads end anywhere: in a character, an event, a chunk's size."""
    with (
        ScriptedUpstream([request, stream_answer(said)]) as up,
        FaultProxy(up.port, downstream=[slices(size)]) as link,
        Lab(tmp_path, a=link.base_url) as lab,
    ):
        answer = lab.ask(ASKED)
        assert (answer.body, answer.is_whole) == (said, True)
        kept = lab.only_record()
        assert kept.response == said
        assert kept.record.complete
        assert kept.record.is_unparsed == (said in UNREADABLE.values())


lines = st.one_of(
    st.sampled_from([b"data: ", b"data:", b"event: x", b"id: 1", b": c", b"retry: 5", b"", b"x"]),
    st.binary(max_size=12).map(lambda one: b"data: " + one),
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r"])
garbage = st.lists(st.tuples(lines, ends).map(b"".join), max_size=12).map(b"".join)


def test_f15_any_bytes_between_events_pass_and_never_crash(tmp_path: Path) -> None:
    said: list[bytes] = []
    with (
        ScriptedUpstream([answering(lambda asked: stream_answer(*said))]) as up,
        Lab(tmp_path, a=up.base_url) as lab,
        lab.plane.client() as client,
    ):

        @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
        @given(before=garbage, between=garbage, size=st.integers(1, 40))
        @example(before=b"", between=b"data: [DONE]", size=3)
        @example(before=b"\xef\xbb\xbf", between=b"\r", size=1)
        def passes(before: bytes, between: bytes, size: int) -> None:
            body = event("a") + before + b"\n\n" + EVENTS + between + b"\n\n" + DONE
            said[:] = [body[at : at + size] for at in range(0, len(body), size)]
            answer = lab.ask_on(client, ASKED)
            assert answer.status == 200
            assert answer.is_whole
            assert body.startswith(answer.body)  # what stands behind [DONE] may be left out
            assert b"[DONE]" in answer.body[-20:]

        passes()
        assert lab.plane.count("requests_total", status="error") == 0


def large_event(tmp_path: Path, mebibytes: int) -> None:
    """One event of this size, passed on while it comes."""
    block = b"x" * (1 << 20)
    start = b'data: {"choices":[{"index":0,"delta":{"content":"'
    said = [request, chunked_head(), chunk(start), repeat(chunk(block), mebibytes)]
    said += [chunk(b'"}}]}\n\n'), chunk(event(finish="stop") + DONE), LAST_CHUNK]
    with ScriptedUpstream(said) as up, Lab(tmp_path, a=up.base_url) as lab:
        answer = lab.ask(ASKED)
        whole = start + block * mebibytes + b'"}}]}\n\n' + event(finish="stop") + DONE
        assert answer.body == whole
        assert answer.is_whole
        assert lab.only_record().record.is_unparsed


def test_f15_an_event_of_four_megabytes_passes(tmp_path: Path) -> None:
    large_event(tmp_path, 4)


@pytest.mark.slow
def test_f15_an_event_of_64_megabytes_passes(tmp_path: Path) -> None:
    large_event(tmp_path, 64)
