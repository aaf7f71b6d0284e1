"""What a backend says of when to come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.connection import ResponseHead
from adapters.retry_after import retry_after_s

DATE = (b"date", b"Tue, 24 Nov 2026 12:00:00 GMT")


def head(*headers: tuple[bytes, bytes]) -> ResponseHead:
    return ResponseHead(429, list(headers), True)


@pytest.mark.parametrize(
    ("headers", "span_s"),
    [
        ([], None),
        ([(b"retry-after", b"2")], 2.0),
        ([(b"retry-after", b"0")], 0.0),
        ([(b"retry-after", b"0.25")], 0.25),
        ([(b"retry-after-ms", b"150")], 0.15),
        ([(b"retry-after", b"9"), (b"retry-after-ms", b"150")], 0.15),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"9")], 9.0),
        ([(b"retry-after", b"-1")], None),
        ([(b"retry-after", b"soon")], None),
        ([(b"retry-after", b"1e9")], None),
        ([(b"retry-after", b"\xff")], None),
        ([(b"retry-after", b"Tue, 24 Nov 2026 12:00:30 GMT"), DATE], 30.0),
        ([(b"retry-after", b"Tue, 24 Nov 2026 11:00:00 GMT"), DATE], 0.0),
        ([(b"retry-after", b"Tuesday, 24-Nov-26 12:00:05 GMT"), DATE], 5.0),
        ([(b"retry-after", b"Tue Nov 24 12:00:07 2026"), DATE], 7.0),
        ([(b"retry-after", b"Tue, 99 Nov 2026 12:00:30 GMT"), DATE], None),
    ],
)
def test_reads_seconds_milliseconds_and_dates(
    headers: list[tuple[bytes, bytes]], span_s: float | None
) -> None:
    assert retry_after_s(head(*headers)) == span_s


def test_without_the_answers_own_date_ours_is_taken() -> None:
    found = retry_after_s(head((b"retry-after", b"Fri, 01 Jan 2100 00:00:00 GMT")))
    assert found is not None
    assert found > 365 * 86400


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_whatever_is_said_is_a_number_or_nothing(value: bytes, date: bytes) -> None:
    found = retry_after_s(head((b"retry-after", value), (b"date", date)))
    assert found is None or found >= 0
