"""F16: a TLS upstream that closes without close_notify: not a byte of a body is lost.

uvloop's own TLS lost the tail of 13-23 % of bodies of 3 MB; ours runs on a plain transport.
"""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import make_certificates
from tests.support.command import all_captures
from tests.support.laboratory import Lab, over_tls
from tests.support.ledger import Ledger, Wire, chat_body, differences
from tests.support.plane import ASKED, STREAMED, completion, config, event
from tests.support.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    Step,
    chunk,
    chunked_head,
    fin,
    request,
    response,
)
from tests.support.served import Served
from tests.support.simple_config import write_config

PADDING = "x" * (3 << 20)
WHOLE = completion(padding=PADDING)
STREAM = event("x" * 8000) * 380 + event(finish="stop")
ANSWERS: dict[str, tuple[dict[str, Any], bytes, bytes]] = {
    "with a length": (ASKED, WHOLE, response(WHOLE, "connection: close")),
    "chunked": (STREAMED, STREAM, chunked_head("connection: close") + chunk(STREAM) + LAST_CHUNK),
}


@contextmanager
def upstream(directory: Path, script: list[Step]) -> Iterator[ScriptedUpstream]:
    """A TLS server whose authority is `ca.pem` in the directory."""
    context: ssl.SSLContext = make_certificates(directory).server_context
    with ScriptedUpstream(script, tls=context) as up:
        yield up


@pytest.mark.parametrize(("body", "said", "bytes_sent"), ANSWERS.values(), ids=ANSWERS)
def test_f16_no_tail_is_lost(
    tmp_path: Path, body: dict[str, Any], said: bytes, bytes_sent: bytes
) -> None:
    with (
        upstream(tmp_path, [request, bytes_sent, fin]) as up,
        Lab(tmp_path, a=over_tls(up.base_url)) as lab,
    ):
        for _ in range(20):
            answer = lab.ask(body)
            assert answer.is_whole
            assert answer.body == said


@pytest.mark.parametrize("missing", [1, 1000, 100_000])
def test_f16_before_the_end_of_the_body_it_is_a_cut(tmp_path: Path, missing: int) -> None:
    """Without close_notify an end proves nothing: only the body's own framing does."""
    said = response(WHOLE, "connection: close")[:-missing]
    with (
        upstream(tmp_path, [request, said, fin]) as up,
        Lab(tmp_path, a=over_tls(up.base_url)) as lab,
    ):
        answer = lab.ask()
        assert (answer.status, answer.error["code"]) == (502, "upstream_error")


def test_f16_a_body_that_only_the_close_would_end_is_no_answer(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
    with (
        upstream(tmp_path, [request, head + completion(), fin]) as up,
        Lab(tmp_path, a=over_tls(up.base_url)) as lab,
    ):
        assert lab.ask().status == 502


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2])
def test_f16_none_of_a_thousand_is_truncated(tmp_path: Path, ledger: Ledger, workers: int) -> None:
    """Real processes, four clients at once."""
    _, said, bytes_sent = ANSWERS["with a length"]
    wanted = sha256(said).hexdigest()
    with upstream(tmp_path, [request, bytes_sent, fin]) as up:
        text = config("  default: {candidates: [a]}", a=over_tls(up.base_url))
        with Served(write_config(tmp_path, text), workers=workers) as served:

            def fetch(number: int) -> None:
                with Wire(served.listen) as wire:
                    for count in range(250):
                        body = chat_body(f"{number}/{count}")
                        ledger.add(body, wire.ask(body, x_pointsman_capture="metadata"))

            clients = [threading.Thread(target=fetch, args=(number,)) for number in range(4)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
        assert len(ledger.entries) == 1000
        assert {entry.response_sha256 for entry in ledger.entries.values()} == {wanted}
        captures = all_captures(tmp_path / "config.yaml")
        assert differences(ledger, captures, has_bodies=False) == []
