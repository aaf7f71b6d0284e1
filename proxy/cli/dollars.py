"""Amounts of money on the command line: `$5`, `5`, `0.25`."""

from typing import Any

import click

from pointsman.units import money_usd


class Dollars(click.ParamType[float]):
    """`$5` -> 5.0; the sign may be left out, for shells read `$5` as a variable."""

    name = "amount"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read an amount."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            return money_usd(text if text.startswith("$") else f"${text}")
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is no amount; write 5 or 0.25", param=param
            ) from None
