"""Amounts on the command line: money (`5`, `$0.25`), shares (`5%`), spans (`200ms`)."""

from typing import Any

import click

from pointsman.units import duration_s, money_usd, share


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


def read_share(option: str, text: str) -> float:
    """`5%` -> 0.05."""
    try:
        return share(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def read_span_s(option: str, text: str) -> float:
    """`200ms` -> 0.2."""
    try:
        return duration_s(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None
