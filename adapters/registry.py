"""Which adapters there are: the files of `adapters/kinds/`, by name."""

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from . import kinds

if TYPE_CHECKING:
    from .adapter import Adapter


def adapter_names() -> list[str]:
    """Every word that `adapter:` may say, sorted; nothing is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(kinds.__path__))


def find_adapter(name: str) -> "Adapter":
    """The adapter of a known name."""
    adapter: Adapter = import_module(f"{kinds.__name__}.{name}").ADAPTER
    return adapter
