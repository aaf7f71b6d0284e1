"""Prices: the operator's, and the shipped table."""

import re
from pathlib import Path

import pytest

from adapters.prices import decode_price, load_list_prices, price_version
from pointsman.decoding import Findings
from pointsman.document import parse
from pointsman.errors import ConfigError
from pointsman.tokens import Price


def decoded(text: str) -> tuple[Price | None, list[str]]:
    findings = Findings()
    price = decode_price(parse(text, "f"), findings, "b")
    return price, [problem.message for problem in findings.errors]


def test_reads_token_classes_or_an_hour() -> None:
    assert decoded("{input: 1.10, cached_input: 0.55, output: 4.40}") == (
        Price(input=1.10, output=4.40, cached_input=0.55),
        [],
    )
    assert decoded("{per_hour: 1.80}") == (Price(per_hour=1.80), [])
    assert decoded("{input: 0, output: 0}") == (Price(input=0.0, output=0.0), [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{input: 1}", "needs both"),
        ("{per_hour: 1, input: 1, output: 1}", "not both"),
        ("{}", "needs 'input' and 'output', or 'per_hour'"),
        ("{inputs: 1, output: 2}", "did you mean 'input'"),
        ("{input: -1, output: 2}", "below 0"),
        ("{input: $30, output: 2}", "expected a number"),
        ("30", "must be a mapping"),
    ],
)
def test_names_what_is_wrong(text: str, message: str) -> None:
    price, errors = decoded(text)
    assert price is None
    assert any(message in error for error in errors), errors


def test_the_shipped_table_is_dated_and_knows_the_talks_models() -> None:
    table = load_list_prices()
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", table.version)
    assert table.of_model("gpt-4") == Price(input=30.0, output=60.0)
    assert table.of_model("o3-mini") == Price(input=1.10, output=4.40, cached_input=0.55)
    assert table.simulated["local"].per_hour == 1.80


def test_a_dated_snapshot_costs_what_its_model_costs() -> None:
    table = load_list_prices()
    assert table.of_model("gpt-4o-2024-08-06") == table.of_model("gpt-4o")
    assert table.of_model("gpt-4-0613") == table.of_model("gpt-4")
    sonnet = table.of_model("claude-sonnet-4-5")
    assert table.of_model("claude-sonnet-4-5-20250929") == sonnet is not None
    assert table.of_model("gpt-4o-realtime") is None
    assert table.of_model("liability-8b") is None


def test_a_bad_table_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("models: {a: {input: 1}}\n")
    with pytest.raises(ConfigError, match="needs 'version'"):
        load_list_prices(path)


def test_the_version_changes_with_the_price_alone() -> None:
    assert price_version(Price(input=1, output=2)) == price_version(Price(input=1, output=2))
    assert price_version(Price(input=1, output=2)) != price_version(Price(input=1, output=3))
    assert re.fullmatch(r"[0-9a-f]{12}", price_version(Price(per_hour=1)))


def test_a_price_with_a_sign_is_told_once_with_its_unit():
    findings = Findings()
    node = parse("price: {input: $30, output: 60}", "f").items["price"]
    assert decode_price(node, findings, "backend 'a'") is None
    (error,) = findings.errors
    assert "write dollars per million tokens, or per hour, as 30 or 1.80" in error.message
