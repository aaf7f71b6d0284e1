"""The root of every error this program raises, and what a configuration error is made of.

    PointsmanError
    ├── ConfigError            the operator's file: what, where, how to mend it
    ├── proxy.errors           DownstreamError: the client's fault, carries the HTTP answer
    ├── adapters.errors        UpstreamError: a backend's fault, says whether another try may help
    └── telemetry.errors       StoreError: the journal or the store

An error's class says whose fault it is; its message says what was wrong, where and what to do.
"""

from dataclasses import dataclass


class PointsmanError(Exception):
    """Root of the tree."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding in a configuration file. `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(PointsmanError):
    """A configuration that cannot be used; `problems` is never empty and in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(map(str, self.problems)))
