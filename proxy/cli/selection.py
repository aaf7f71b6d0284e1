"""Which captures a command of the loop reads: the options, and what they mean."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .options import Ago

if TYPE_CHECKING:
    from learning.captured import Selection

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option("--route", help="Of one route."),
    click.option("--since", type=Ago(), help="Younger than this, as 1h or 2d."),
    click.option("--from-backend", help="Answered by this backend."),
    click.option("--source", help="Of this source: traffic, or the name of an import."),
    click.option("--task", help="Of one task."),
    click.option("--where", metavar="SQL", help="A condition over the columns of `requests`."),
)


def selection_options(function: F) -> F:
    """--route, --since, --from-backend, --source, --task, --where."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def read_selection(options: Mapping[str, Any]) -> "Selection":
    """The options as a selection."""
    from learning.captured import Selection

    since = options["since"]
    return Selection(
        since_us=None if since is None else int(since * 1_000_000),
        route=options["route"],
        backend=options["from_backend"],
        source=options["source"],
        task=options["task"],
        where=options["where"],
    )
