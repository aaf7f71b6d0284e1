import click
import pytest

from proxy.cli.amount import Dollars, read_share, read_span_s


@pytest.mark.parametrize(("text", "usd"), [("$5", 5.0), ("0.25", 0.25), (" 3 ", 3.0)])
def test_amounts(text: str, usd: float) -> None:
    assert Dollars().convert(text, None, None) == usd


def test_what_is_no_amount_is_wrong_usage() -> None:
    with pytest.raises(click.BadParameter, match="no amount"):
        Dollars().convert("much", None, None)


def test_shares_and_spans() -> None:
    assert read_share("--x", "5%") == 0.05
    assert read_span_s("--x", "200ms") == 0.2
    for read in (read_share, read_span_s):
        with pytest.raises(click.UsageError, match="--x"):
            read("--x", "much")
