"""Units are read as written, and nothing that could be misread is guessed."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman import units


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("250us", 0.00025), ("200ms", 0.2), ("1.5s", 1.5), (".5 s", 0.5),
        ("2m", 120.0), ("1h", 3600.0), ("30d", 2_592_000.0), (" 10s ", 10.0),
    ],
)  # fmt: skip
def test_duration_becomes_seconds(text: str, expected_s: float) -> None:
    assert units.duration_s(text) == pytest.approx(expected_s)


@pytest.mark.parametrize(
    "text", ["200", "ms", "-5s", "1,5s", "1h30m", "5 sec", "", "1e3s", "inf s"]
)
def test_duration_without_a_clear_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write a number and us, ms"):
        units.duration_s(text)


@pytest.mark.parametrize(
    ("text", "expected_usd"), [("$0.004", 0.004), ("$12", 12.0), ("$ .5", 0.5)]
)
def test_money_becomes_dollars(text: str, expected_usd: float) -> None:
    assert units.money_usd(text) == pytest.approx(expected_usd)


@pytest.mark.parametrize("text", ["0.004", "4 cents", "€1", "$-1", "$1,000", "$"])
def test_money_without_a_dollar_sign_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write dollars as \$0\.004"):
        units.money_usd(text)


@pytest.mark.parametrize(("text", "expected"), [("0%", 0.0), ("5%", 0.05), ("100 %", 1.0)])
def test_share_becomes_a_fraction(text: str, expected: float) -> None:
    assert units.share(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["0.05", "5", "+5%", "-5%", "five%"])
def test_share_must_be_an_unsigned_percentage(text: str) -> None:
    with pytest.raises(ValueError, match="write a percentage as 5%"):
        units.share(text)


def test_share_above_the_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 100%"):
        units.share("101%")


@pytest.mark.parametrize(
    ("text", "expected"), [("+0.5pp", 0.005), ("-1 pp", -0.01), ("+3%", 0.03), ("+0%", 0.0)]
)
def test_change_keeps_its_sign(text: str, expected: float) -> None:
    assert units.change(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["0.5pp", "3%", "+3", "pp"])
def test_change_without_a_sign_or_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a change"):
        units.change(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("512", 512), ("1B", 1), ("2KB", 2_000), ("1MB", 1_000_000),
        ("1GB", 10**9), ("1KiB", 1_024), ("20MiB", 20_971_520), ("1.5GiB", 1_610_612_736),
    ],
)  # fmt: skip
def test_size_becomes_bytes(text: str, expected: int) -> None:
    assert units.size_bytes(text) == expected


@pytest.mark.parametrize("text", ["20mb", "20 M", "-1", "1TiB", "lots"])
def test_size_with_an_unknown_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        units.size_bytes(text)


@pytest.mark.parametrize(("text", "expected"), [("p1", 0.01), ("p95", 0.95), ("p99.9", 0.999)])
def test_quantile_becomes_a_fraction(text: str, expected: float) -> None:
    assert units.quantile(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["95", "p0", "p0.5", "p100", "p99.95", "P95", "median"])
def test_quantile_outside_its_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantile"):
        units.quantile(text)


READERS = [
    units.duration_s, units.money_usd, units.share, units.change, units.size_bytes, units.quantile,
]  # fmt: skip


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@given(text=st.text(max_size=30))
def test_any_text_is_read_or_refused_with_a_value_error(
    read: Callable[[str], float], text: str
) -> None:
    try:
        value = read(text)
    except ValueError:
        return
    assert math.isfinite(value)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (units.duration_s, "9" * 400 + "s"),
        (units.money_usd, "$" + "9" * 400),
        (units.size_bytes, "9" * 400 + "GiB"),
        (units.change, "+" + "9" * 400 + "%"),
    ],
)
def test_a_number_too_large_to_hold_is_refused(read: Callable[[str], float], text: str) -> None:
    with pytest.raises(ValueError, match="is too large"):
        read(text)


def test_only_the_ten_ascii_digits_count_as_digits() -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        units.duration_s("٣s")
