"""A progress bar on standard error, where that is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(
    doing: str, *, is_silent: bool = False, is_bytes: bool = False
) -> Iterator[Callable[[int, int], None]]:
    """Gives what to call with (done, total): rows, or bytes."""
    from rich.console import Console
    from rich.progress import DownloadColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        *Progress.get_default_columns()[:2],
        DownloadColumn() if is_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=is_silent or not console.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def progress_steps(*, is_silent: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """The same for work of several steps: gives what to call with (doing, done, total)."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    with Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        console=console,
        disable=is_silent or not console.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda doing, done, total: progress.update(
            task, description=doing, completed=done, total=total
        )
