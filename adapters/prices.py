"""Prices: an operator's `price:`, or the dated table of list prices that ships beside this file."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pointsman.decoding import Findings, Section, number, text
from pointsman.document import Node, parse
from pointsman.tokens import Price

TABLE = Path(__file__).with_name("prices.yaml")

_DATED = re.compile(r"(.+)-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})")
_TOKEN_CLASSES = ("input", "output", "cached_input", "cache_write")


@dataclass(frozen=True, slots=True)
class ListPrices:
    """The shipped table. `version` is the day it was written down."""

    version: str
    models: Mapping[str, Price]
    simulated: Mapping[str, Price]

    def of_model(self, model: str) -> Price | None:
        """The price of `model`, or of the model it is a snapshot of.

        Snapshots are dated in three ways: `gpt-4o-2024-08-06`, `gpt-4-0613`, `claude-x-20250929`.
        """
        dated = _DATED.fullmatch(model)
        return self.models.get(model) or (self.models.get(dated[1]) if dated else None)


def load_list_prices(path: Path = TABLE) -> ListPrices:
    """Read the table. Raises ConfigError; it ships with the program, so that is a bug."""
    findings = Findings()
    root = Section(parse(path.read_text(encoding="utf-8"), path.name), findings, "the price table")
    root.require("version", "models")
    table = ListPrices(
        version=root.read("version", text, ""),
        models=_prices(root, "models", findings),
        simulated=_prices(root, "simulated", findings),
    )
    root.done()
    findings.raise_if_any()
    return table


def decode_price(node: Node, findings: Findings, what: str) -> Price | None:
    """`{input: 30, output: 60}` or `{per_hour: 1.80}`; None (and a finding) where it is neither."""
    section = Section(node, findings, f"the price of {what}")
    amount = _dollars
    classes = {name: section.read(name, amount) for name in _TOKEN_CLASSES}
    per_hour = section.read("per_hour", amount)
    section.done()
    has_tokens = any(value is not None for value in classes.values())
    if has_tokens and per_hour is not None:
        findings.error(node.at, f"{section.what}: either per token or per_hour, not both")
    elif has_tokens and not ("input" in section and "output" in section):
        findings.error(node.at, f"{section.what} needs both 'input' and 'output'")
    elif (has_tokens and None not in (classes["input"], classes["output"])) or per_hour is not None:
        return Price(**classes, per_hour=per_hour)
    elif not section.keys():
        findings.error(node.at, f"{section.what} needs 'input' and 'output', or 'per_hour'")
    return None


def _dollars(node: Node) -> float:
    """A bare number: the word says what it is of."""
    try:
        return number(minimum=0)(node)
    except ValueError as error:
        message = f"{error}; write dollars per million tokens, or per hour, as 30 or 1.80"
        raise ValueError(message) from None


def price_version(price: Price) -> str:
    """12 hex digits that change exactly when the price does; kept in every record."""
    return hashlib.sha256(msgspec.json.encode(price)).hexdigest()[:12]


def _prices(root: Section, key: str, findings: Findings) -> dict[str, Price]:
    section = root.subsection(key)
    if section is None:
        return {}
    found = {}
    names = section.keys()
    for name in names:
        node = section.node(name)
        price = decode_price(node, findings, repr(name)) if node else None
        if price:
            found[name] = price
    return found
