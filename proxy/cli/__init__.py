"""The command line. `main` is the console script; each command is a module loaded when asked."""

from .program import main

__all__ = ["main"]
