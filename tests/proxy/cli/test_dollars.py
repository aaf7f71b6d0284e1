import click
import pytest

from proxy.cli.dollars import Dollars


@pytest.mark.parametrize(("text", "usd"), [("$5", 5.0), ("0.25", 0.25), (" 3 ", 3.0)])
def test_amounts(text: str, usd: float) -> None:
    assert Dollars().convert(text, None, None) == usd


def test_what_is_no_amount_is_wrong_usage() -> None:
    with pytest.raises(click.BadParameter, match="no amount"):
        Dollars().convert("much", None, None)
