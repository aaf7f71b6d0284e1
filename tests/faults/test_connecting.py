"""F6-F9: a backend that cannot be reached, found, or trusted."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.certificates import SPOILT, Spoilt, make_certificates, spoilt_context
from tests.support.command import all_captures
from tests.support.fault_proxy import REFUSED, FaultProxy, unanswered_port
from tests.support.laboratory import Lab, over_tls
from tests.support.ledger import Ledger, Wire, chat_body, differences
from tests.support.name_server import NameServer
from tests.support.plane import config, whole_answer
from tests.support.scripted import ScriptedUpstream, answering, until_closed
from tests.support.served import Served
from tests.support.simple_config import write_config

GOOD = answering(lambda asked: whole_answer())
BACKUP = "on_failure: [b]"


# -- F6: connect refused --------------------------------------------------------------------------


@pytest.mark.timed
def test_f06_another_backend_answers_within_fifty_milliseconds(tmp_path: Path) -> None:
    spans = []
    with (
        ScriptedUpstream([GOOD]) as b,
        Lab(tmp_path, route=BACKUP, a=REFUSED, b=b.base_url) as lab,
    ):
        for _ in range(20):
            started_s = time.monotonic()
            answer = lab.ask()
            assert answer.header("x-pointsman-backend") == "b"
            assert answer.header("x-pointsman-attempts") in ("1", "2")
            spans.append(time.monotonic() - started_s)
    assert sorted(spans)[len(spans) // 2] < 0.05


def test_f06_nobody_else_is_a_503_with_retry_after(tmp_path: Path) -> None:
    with Lab(tmp_path, a=REFUSED) as lab:
        for _ in range(8):  # more than open a breaker: the last backend is never ejected
            answer = lab.ask()
            assert answer.code == (503, "server_error", "no_backend")
            assert int(answer.header("retry-after") or "0") >= 1
            assert all(kept.record.attempts for kept in lab.balance())


def test_f06_five_in_a_row_and_it_is_asked_no_more(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([GOOD]) as a,
        FaultProxy(a.port) as link,
        ScriptedUpstream([GOOD]) as b,
        Lab(tmp_path, route=BACKUP, a=link.base_url, b=b.base_url) as lab,
    ):
        link.close_port()
        tried = [lab.ask().header("x-pointsman-attempts") for _ in range(10)]
        assert tried == ["2"] * 5 + ["1"] * 5


# -- F7: connect into a black hole ----------------------------------------------------------------


@pytest.mark.timed
def test_f07_a_connect_is_cut_at_two_seconds_and_another_answers(tmp_path: Path) -> None:
    with (
        unanswered_port() as port,
        ScriptedUpstream([GOOD]) as b,
        Lab(tmp_path, route=BACKUP, a=f"http://127.0.0.1:{port}/v1", b=b.base_url) as lab,
    ):
        started_s = time.monotonic()
        answer = lab.ask()
        assert 1.9 < time.monotonic() - started_s < 3.0
        assert (answer.status, answer.header("x-pointsman-backend")) == (200, "b")
        assert lab.only_record().tried == [("primary", "a", "connect"), ("fallback", "b", None)]


# -- F8: names ------------------------------------------------------------------------------------

ROUTES = """\
  default: {candidates: [a], on_failure: [b]}
  alone: {match: {model: alone}, candidates: [a]}"""


@contextmanager
def named(
    directory: Path, said: str, *, port: int, backup: str
) -> Iterator[tuple[Served, NameServer]]:
    """A server whose backend `a` has the name `one.test`; `b` is known by its address."""
    text = config(ROUTES, a=f"http://one.test:{port}/v1", b=backup)
    with NameServer({"one.test": said}) as names:
        before = names.led_here(directory)
        with Served(write_config(directory, text), before=before) as served:
            yield served, names


@pytest.mark.parametrize("said", ["NXDOMAIN", "SERVFAIL"])
def test_f08_a_name_without_an_address_is_a_typed_502(tmp_path: Path, said: str) -> None:
    with (
        ScriptedUpstream([GOOD]) as b,
        named(tmp_path, said, port=b.port, backup=b.base_url) as (served, _),
    ):
        status, headers, body = served.chat(model="alone")
        assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_error")
        assert b"one.test" not in body
        status, headers, _ = served.chat()
        assert (status, headers["x-pointsman-backend"]) == (200, "b")
        captures = all_captures(tmp_path / "config.yaml")
        assert [one["attempts"][0]["error_type"] for one in captures] == ["dns", "dns"]


@pytest.mark.timed
def test_f08_a_slow_name_server_holds_up_nobody_else(tmp_path: Path, ledger: Ledger) -> None:
    with (
        ScriptedUpstream([GOOD]) as b,
        named(tmp_path, "silence", port=b.port, backup=b.base_url) as (served, names),
    ):
        stuck = threading.Thread(target=ask_slowly, args=(served,))
        spans: list[float] = []
        with Wire(served.listen) as wire:
            stuck.start()
            while not names.asked:
                time.sleep(0.001)
            deadline_s = time.monotonic() + 1.2  # `a` has its name looked up all the while
            while time.monotonic() < deadline_s:
                body = chat_body(str(len(spans)), model="b")
                started_s = time.monotonic()
                ledger.add(body, wire.ask(body))
                spans.append(time.monotonic() - started_s)
        assert stuck.is_alive()
        stuck.join()
        assert max(spans) < 0.3  # a look-up that blocked the loop would take two seconds
        assert {entry.status for entry in ledger.entries.values()} == {200}
        assert differences(ledger, all_captures(tmp_path / "config.yaml", "--bodies")) == []


def ask_slowly(served: Served) -> None:
    """`a` alone, whose name never comes: two seconds are given to it, and no more in all."""
    with Wire(served.listen) as wire:
        answer = wire.ask(chat_body(model="alone"), x_pointsman_deadline_ms="1900")
    assert answer.status in (502, 504)


@pytest.mark.slow
def test_f08_a_backend_that_moved_is_found_again(tmp_path: Path) -> None:
    """Its old address answers no more. Addresses are asked for anew every ten seconds: the C
    library does not tell their TTL."""
    with (
        ScriptedUpstream([GOOD]) as a,
        ScriptedUpstream([GOOD]) as b,
        named(tmp_path, "127.0.0.2", port=a.port, backup=b.base_url) as (served, names),
    ):
        assert served.chat(model="alone")[0] == 503  # nobody listens at 127.0.0.2
        names.answers["one.test"] = "127.0.0.1"
        moved_s = time.monotonic()
        while served.chat(model="alone")[0] != 200:
            assert time.monotonic() - moved_s < 13.0
            time.sleep(0.25)


# -- F9: TLS --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", SPOILT)
def test_f09_a_certificate_or_protocol_is_refused_and_another_answers(
    tmp_path: Path, how: Spoilt
) -> None:
    certificates = make_certificates(tmp_path)
    with (
        ScriptedUpstream([GOOD], tls=spoilt_context(certificates, how)) as a,
        ScriptedUpstream([GOOD]) as b,
        Lab(tmp_path, route=BACKUP, a=over_tls(a.base_url), b=b.base_url) as lab,
    ):
        answer = lab.ask()
        assert (answer.status, answer.header("x-pointsman-backend")) == (200, "b")
        assert lab.only_record().tried == [("primary", "a", "tls"), ("fallback", "b", None)]
        assert a.requests == []
        assert all(one.received == b"" for one in a.connections)  # nothing in the clear either


@pytest.mark.parametrize("how", SPOILT)
def test_f09_alone_it_is_a_typed_502(tmp_path: Path, how: Spoilt) -> None:
    certificates = make_certificates(tmp_path)
    with (
        ScriptedUpstream([GOOD], tls=spoilt_context(certificates, how)) as a,
        Lab(tmp_path, a=over_tls(a.base_url)) as lab,
    ):
        assert lab.ask().code == (502, "server_error", "upstream_error")
        assert a.requests == []


def test_f09_a_handshake_is_cut_at_three_seconds_and_another_answers(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    with (
        ScriptedUpstream([until_closed]) as a,  # takes the connection, says nothing
        ScriptedUpstream([GOOD]) as b,
        Lab(
            tmp_path,
            route=BACKUP,
            a=over_tls(f"https://127.0.0.1:{a.port}/v1"),
            b=b.base_url,
        ) as lab,
    ):
        started_s = time.monotonic()
        assert lab.ask().header("x-pointsman-backend") == "b"
        assert 2.9 < time.monotonic() - started_s < 4.5
        assert lab.only_record().tried[0] == ("primary", "a", "tls")
        assert a.wait_until_finished().closed_how is not None
