"""Compressed answers are read up to a bound, in pieces as they come; nothing raises."""

import gzip
import time
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.content_coding import DECODED_BYTES_MAX, MEMBERS_MAX, Decoder, decoded

TEXT = b'{"choices": [{"message": {"content": "' + b"yard " * 2000 + b'"}}]}'


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


CODED = [
    (b"gzip", gzip.compress(TEXT, mtime=0)),
    (b"x-gzip", gzip.compress(TEXT, mtime=0)),
    (b" GZIP ", gzip.compress(TEXT, mtime=0)),
    (b"gzip", gzip.compress(TEXT[:99], mtime=0) + gzip.compress(TEXT[99:], mtime=0)),
    (b"deflate", zlib.compress(TEXT)),
    (b"deflate", raw_deflate(TEXT)),
]


@pytest.mark.parametrize(("coding", "body"), CODED)
@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
def test_decodes_in_pieces_of_any_size(coding: bytes, body: bytes, size: int) -> None:
    decoder = Decoder(coding)
    pieces = [decoder.feed(body[start : start + size]) for start in range(0, len(body), size)]
    assert b"".join(pieces) == TEXT
    assert decoder.state == "ended"


@pytest.mark.parametrize(("coding", "body"), CODED)
def test_decodes_a_whole_body(coding: bytes, body: bytes) -> None:
    assert decoded(body, coding) == TEXT


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip", b"identity", b"", b"\xff"])
def test_what_it_does_not_know_stays_as_it_is(coding: bytes) -> None:
    decoder = Decoder(coding)
    assert decoder.state == "opaque"
    assert decoder.feed(TEXT) == b""
    assert decoded(TEXT, coding) == TEXT
    assert decoded(TEXT, None) == TEXT


def test_a_broken_body_says_so_and_keeps_what_came_before() -> None:
    body = bytearray(gzip.compress(TEXT))
    body[-8] ^= 1  # its checksum
    decoder = Decoder(b"gzip")
    assert decoder.feed(bytes(body)) == b""
    assert decoder.state == "broken"
    assert decoder.feed(b"more") == b""
    assert decoded(bytes(body), b"gzip") == bytes(body)


def test_half_a_body_is_still_being_read() -> None:
    body = gzip.compress(TEXT)
    decoder = Decoder(b"gzip")
    decoder.feed(body[:-4])
    assert decoder.state == "reading"
    assert decoded(body[:-4], b"gzip") == body[:-4]


def test_bytes_behind_the_end_are_not_read() -> None:
    decoder = Decoder(b"gzip")
    assert decoder.feed(gzip.compress(b"a") + b"junk") == b"a"
    assert decoder.feed(b"more junk") == b""
    assert decoder.state == "ended"


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_bomb_costs_its_bound_and_no_more(is_whole: bool) -> None:
    body = gzip.compress(bytes(100 << 20), 9)
    size = len(body) if is_whole else 4096
    decoder = Decoder(b"gzip")
    started = time.thread_time()
    pieces = [decoder.feed(body[start : start + size]) for start in range(0, len(body), size)]
    assert time.thread_time() - started < 0.2
    assert sum(map(len, pieces)) == DECODED_BYTES_MAX + 1
    assert decoder.state == "opaque"


def test_as_much_as_the_bound_is_read() -> None:
    text = bytes(DECODED_BYTES_MAX)
    assert decoded(gzip.compress(text), b"gzip") == text


def test_many_members_are_not_read_for_ever() -> None:
    decoder = Decoder(b"gzip")
    assert decoder.feed(gzip.compress(b"a") * (MEMBERS_MAX + 1)) == b"a" * MEMBERS_MAX
    assert decoder.state == "opaque"


@given(st.binary(max_size=60), st.sampled_from([b"gzip", b"deflate"]), st.lists(st.integers(0, 60)))
def test_garbage_never_raises(data: bytes, coding: bytes, cuts: list[int]) -> None:
    decoder = Decoder(coding)
    for start, end in pairwise(sorted({0, len(data), *cuts})):
        decoder.feed(data[start:end])
    assert decoder.state in ("reading", "ended", "broken")
    decoded(data, coding)
