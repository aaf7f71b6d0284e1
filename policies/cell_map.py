"""Cells by key, read from bytes only when one is asked for.

A state of 1,000 tasks is megabytes and takes 40 ms to read whole, which a worker would spend
standing still; scanning it takes 2 ms, and of most tasks a worker never asks.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from .cell import Cell

K = TypeVar("K")

_decode = msgspec.msgpack.Decoder(Cell).decode


class CellMap(Generic[K]):
    """A mapping to cells that also holds cells not read yet."""

    __slots__ = ("_cells", "_unread")

    def __init__(self, unread: Mapping[K, msgspec.Raw] | None = None) -> None:
        self._cells: dict[K, Cell] = {}
        self._unread = dict(unread or {})

    def get(self, key: K) -> Cell | None:
        """The cell of `key`; one that cannot be read was not worth keeping. Read anew each time,
        which takes 30 us: what is predicted from it is kept, and a cell as objects is four times
        its bytes.
        """
        found = self._cells.get(key)
        if found is not None:
            return found
        unread = self._unread.get(key)
        if unread is None:
            return None
        try:
            return _decode(unread)
        except msgspec.DecodeError:
            del self._unread[key]
            return None

    def take(self, key: K) -> Cell:
        """The cell of `key`, to be changed; a new one where there is none."""
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = self.get(key) or Cell()
            self._unread.pop(key, None)
        return found

    def written(self) -> dict[K, Cell | msgspec.Raw]:
        """Everything, as it is written out."""
        return {**self._unread, **self._cells}
