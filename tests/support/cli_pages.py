"""The commands' own help as one page: `python -m tests.support.cli_pages > docs/cli.md`."""

from collections.abc import Iterator

import click

from proxy.cli.program import cli

WIDTH = 80

HEAD = """\
# Commands

Written from the commands' own help by `make docs`; a test holds the two together.

Every command takes `--config FILE` (default `./config.yaml`). Exit codes: 0 ok, 1 something is
wrong (for `check`: in the file), 2 wrong usage or, for every command but `check`, a configuration
that cannot be used.
"""


def pages(command: click.Command = cli, parent: click.Context | None = None) -> Iterator[str]:
    """The help of a command and of all below it, as Markdown sections."""
    name = command.name if parent else "pointsman"
    settings = {**command.context_settings, "terminal_width": WIDTH}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield f"## `{context.command_path}`\n\n```text\n{context.get_help()}\n```\n"
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            assert inner is not None
            yield from pages(inner, context)


def page() -> str:
    """The whole file."""
    return "\n".join([HEAD, *pages()])


if __name__ == "__main__":
    click.echo(page(), nl=False)
