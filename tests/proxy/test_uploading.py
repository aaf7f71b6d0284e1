"""A body between two connections: what waits, who is paused, what is sent."""

import hashlib
from typing import Any, cast

import pytest

from proxy.uploading import HELD_BYTES_MAX, Upload


class Ends:
    """Client and attempt in one; notes what they were told."""

    def __init__(self) -> None:
        self.sent = b""
        self.is_read = True
        self.is_all = False
        self.full_at: int | None = None
        self.upload: Upload

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def send_more(self, data: bytes) -> None:
        assert not self.is_all
        self.sent += data
        if self.full_at is not None and len(self.sent) >= self.full_at:
            self.upload.pause()

    def sent_all(self) -> None:
        self.is_all = True


@pytest.fixture
def ends() -> Ends:
    return Ends()


def upload(ends: Ends, *, is_chunked: bool = False) -> Upload:
    made = Upload(cast(Any, ends), is_chunked=is_chunked, is_hashed=True)
    made.send_by(cast(Any, ends))
    ends.upload = made
    return made


def test_pieces_wait_for_the_connection_and_then_go_on(ends: Ends) -> None:
    body = upload(ends)
    body.take(b"a")
    body.take(b"b")
    assert ends.sent == b""
    body.opened()
    assert ends.sent == b"ab"
    body.take(b"c")
    body.end()
    assert (ends.sent, ends.is_all, body.length) == (b"abc", True, 3)
    assert body.digest() == hashlib.sha256(b"abc").digest()


def test_a_client_is_not_read_while_too_much_waits(ends: Ends) -> None:
    body = upload(ends)
    body.take(b"x" * HELD_BYTES_MAX)
    assert ends.is_read
    body.take(b"x")
    assert not ends.is_read
    body.opened()
    assert ends.is_read


def test_a_client_is_read_again_once_its_body_is_whole(ends: Ends) -> None:
    body = upload(ends)
    body.take(b"x" * (HELD_BYTES_MAX + 1))
    assert not ends.is_read
    body.end()
    assert ends.is_read  # behind it stands the next request on the connection
    body.opened()
    assert (len(ends.sent), ends.is_all) == (HELD_BYTES_MAX + 1, True)


def test_a_backend_that_takes_no_more_pauses_the_client(ends: Ends) -> None:
    ends.full_at = 3
    body = upload(ends)
    body.opened()
    body.take(b"abc")
    assert not ends.is_read
    assert body.waits_for_backend
    body.take(b"d")
    assert ends.sent == b"abc"
    ends.full_at = None
    body.resume()
    assert (ends.sent, ends.is_read) == (b"abcd", True)


def test_the_end_waits_for_what_waits(ends: Ends) -> None:
    ends.full_at = 1
    body = upload(ends, is_chunked=True)
    body.opened()
    body.take(b"a")
    body.take(b"b")
    body.end()
    assert not ends.is_all
    ends.full_at = None
    body.resume()
    assert ends.sent == b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
    assert ends.is_all


def test_what_was_stopped_takes_and_sends_nothing(ends: Ends) -> None:
    body = upload(ends)
    body.opened()
    body.take(b"a")
    body.stop()
    body.take(b"b")
    body.end()
    body.pause()
    body.resume()
    assert (ends.sent, ends.is_all, body.length) == (b"a", False, 1)


def test_a_body_is_all_sent_though_the_backend_is_slow_to_take_its_end(ends: Ends) -> None:
    ends.full_at = 3
    body = upload(ends)
    body.opened()
    body.take(b"abc")
    body.end()
    assert ends.is_all  # its answer may come before it says that it takes more
