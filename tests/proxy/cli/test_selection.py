import click
from click.testing import CliRunner

from proxy.cli.selection import read_selection, selection_options


def test_options_become_a_selection() -> None:
    found = []

    @click.command()
    @selection_options
    def look(**options: object) -> None:
        found.append(read_selection(options))

    words = ["--route", "r", "--from-backend", "b", "--source", "s", "--task", "t", "--where", "1"]
    assert CliRunner().invoke(look, words).exit_code == 0
    (selection,) = found
    assert (selection.route, selection.backend, selection.source) == ("r", "b", "s")
    assert (selection.task, selection.where, selection.since_us) == ("t", "1", None)
    CliRunner().invoke(look, ["--since", "1h"])
    assert found[1].since_us > 1_000_000_000_000_000
