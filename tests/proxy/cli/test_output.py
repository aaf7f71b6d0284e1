"""What people see: unknown is a dash, control characters do nothing."""

import pytest

from proxy.cli.output import milliseconds, printable, share, table, usd


def test_unknown_is_a_dash_and_never_zero() -> None:
    assert [usd(None), milliseconds(None), share(None)] == ["-", "-", "-"]
    assert [milliseconds(151.6), share(0.931)] == ["152", "93.1%"]


def test_money_keeps_cents_and_three_digits_below_a_dollar() -> None:
    values = [0.0, 12.5, 0.5, 0.0042, 0.0000615432, 0.99999, -0.01]
    assert list(map(usd, values)) == [
        "$0.00", "$12.50", "$0.50", "$0.0042", "$0.0000615", "$1.00", "$-0.01",
    ]  # fmt: skip


def test_a_clients_text_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("a\x1b[2Jb\n") == "a�[2Jb�"
    table("Rows", ("name",), [("\x1b]0;title\x07",), ("[bold]markup[/bold]",)])
    output = capsys.readouterr().out
    assert "\x1b]" not in output
    assert "[bold]markup[/bold]" in output


def test_no_rows_are_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    table("Rows", ("name",), [])
    assert capsys.readouterr().out == "Rows: none\n"
