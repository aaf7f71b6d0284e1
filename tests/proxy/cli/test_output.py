"""What people see: unknown is a dash, control characters do nothing."""

import pytest

from proxy.cli.output import milliseconds, printable, share, table, usd


def test_unknown_is_a_dash_and_never_zero() -> None:
    assert [usd(None), milliseconds(None), share(None)] == ["-", "-", "-"]
    assert [usd(0.0), usd(0.0042), milliseconds(151.6), share(0.931)] == [
        "$0", "$0.0042", "152", "93.1%",
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
