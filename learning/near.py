"""Which of a million texts are nearly the same: MinHash signatures, banded (LSH), verified.

128 permutations of word 5-shingles, signatures by rensa. 25 bands of 5 rows: two texts of Jaccard
similarity 0.8 share a band with probability 0.99995, of 0.7 with 0.99. Every pair that shares one
is checked against the signatures, of which 16 bits a permutation are kept: two that differ agree
by chance once in 65,536. Signatures lie in a file and are read piece by piece, so memory stays
small: per text 8 bytes a band being sorted, and the labels.
"""

import os
import shutil
from array import array
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pointsman.errors import PointsmanError

PERMUTATIONS: Final = 128
BANDS: Final = 25
BAND_ROWS: Final = 5
SHINGLE_WORDS: Final = 5
SEED: Final = 42
BATCH_TEXTS: Final = 2000
BATCH_PAIRS: Final = 50_000
ROW_BYTES: Final = 2 * PERMUTATIONS
BLOCK_ROWS: Final = 65_536  # 16 MB of signatures
BANDS_AT_ONCE: Final = 5  # the file is read once for each five
WORDS_MAX: Final = 20_000
"""Of a longer text the beginning is compared."""
ROUNDS_MAX: Final = 64  # label propagation halves what is left each round


class ExtraMissing(PointsmanError):
    """A package of the extra [data] is not installed."""


def require_extra() -> Any:
    """numpy and rensa. Raises ExtraMissing."""
    try:
        return import_module("numpy"), import_module("rensa")
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"{error.name} is missing; pip install 'pointsman[data]'") from None


def shingles(text: str) -> list[str]:
    """Every five words in a row; a shorter text is one shingle."""
    words = text.split(None, WORDS_MAX)[:WORDS_MAX]
    if len(words) < SHINGLE_WORDS:
        return [" ".join(words)]
    grams = zip(*(words[start:] for start in range(SHINGLE_WORDS)), strict=False)
    return list(map(" ".join, grams))


class Matrix:
    """The signatures of a file, one row a text, read piece by piece: memory stays small.

    Not mapped: the kernel maps 16 pages around each that is touched, so rows here and there are
    soon the whole file.
    """

    def __init__(self, descriptor: int, count: int) -> None:
        self._numpy, _ = require_extra()
        self._descriptor = descriptor
        self.count = count

    def blocks(self) -> Iterator[tuple[int, Any]]:
        """Neighbouring rows behind the place of their first."""
        for start in range(0, self.count, BLOCK_ROWS):
            rows = self._numpy.empty((min(BLOCK_ROWS, self.count - start), PERMUTATIONS), "=u2")
            os.preadv(self._descriptor, [rows], start * ROW_BYTES)
            yield start, rows

    def rows(self, places: Any) -> Any:
        """Those at some places."""
        found = self._numpy.empty((len(places), PERMUTATIONS), "=u2")
        for row, place in zip(found, places.tolist(), strict=True):
            os.preadv(self._descriptor, [row], place * ROW_BYTES)
        return found


class Signatures:
    """Signatures of texts, added one after the other to a file; a context manager."""

    def __init__(self, path: Path) -> None:
        self._numpy, self._rensa = require_extra()
        self._path = path
        self._file = path.open("w+b")
        self._waiting: list[list[str]] = []
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def add(self, text: str) -> None:
        """The next text."""
        self._waiting.append(shingles(text))
        self.count += 1
        if len(self._waiting) >= BATCH_TEXTS:
            self._write()

    def add_file(self, path: Path, count: int) -> None:
        """Those of `count` further texts, which another has written to `path`."""
        self._write()
        with path.open("rb") as file:
            shutil.copyfileobj(file, self._file, 1 << 20)
        self.count += count

    def close(self) -> None:
        """Write what waits and leave the file to another."""
        self._write()
        self._file.close()

    def matrix(self) -> Matrix:
        """All of them, as long as this is open."""
        self._write()
        self._file.flush()
        return Matrix(self._file.fileno(), self.count)

    def _write(self) -> None:
        if self._waiting:
            digests = self._rensa.RMinHash.digests_from_token_sets(
                self._waiting, PERMUTATIONS, SEED
            )
            self._waiting = []
            whole = array("I")
            for row in digests:
                whole.extend(row)
            self._file.write(self._numpy.frombuffer(whole, "=u4").astype("=u2"))


def near_pairs(
    matrix: Matrix, similarity: float, rows: Any = None
) -> Iterator[tuple[Any, Any, Any]]:
    """Arrays (first, second, estimated similarity) of pairs at or above `similarity`.

    `rows` are the places that are compared, in order; None: all.

    In each bucket every text is held against the first of it and the one before it, so a bucket
    of n costs 2n comparisons: enough to join a cluster, whose texts meet in many bands.
    """
    numpy, _ = require_extra()
    places = numpy.arange(matrix.count) if rows is None else rows
    for first_band in range(0, BANDS, BANDS_AT_ONCE):
        for keys in _keys_of_bands(numpy, matrix, places, first_band):
            pairs = _bucket_pairs(numpy, keys, places)
            if pairs is not None:
                yield from _verified(numpy, matrix, pairs, similarity)


def _keys_of_bands(numpy: Any, matrix: Matrix, places: Any, first_band: int) -> Any:
    """A row of keys for each of some bands."""
    keys = numpy.empty((BANDS_AT_ONCE, len(places)), dtype="u8")
    for start, rows in matrix.blocks():
        first, end = numpy.searchsorted(places, (start, start + len(rows)))
        wanted = rows[places[first:end] - start]
        for band in range(BANDS_AT_ONCE):
            column = (first_band + band) * BAND_ROWS
            keys[band, first:end] = _band_keys(numpy, wanted[:, column : column + BAND_ROWS])
    return keys


def _bucket_pairs(numpy: Any, keys: Any, places: Any) -> tuple[Any, Any] | None:
    """Places that have a key in common, as pairs; None where no two have."""
    order = numpy.argsort(keys, kind="stable")
    ordered = keys[order]
    is_same = ordered[1:] == ordered[:-1]
    later = numpy.nonzero(is_same)[0] + 1
    if not len(later):
        return None
    starts = numpy.nonzero(numpy.concatenate(([True], ~is_same)))[0]
    first = places[order[starts[numpy.searchsorted(starts, later, side="right") - 1]]]
    this, before = places[order[later]], places[order[later - 1]]
    is_other = before != first
    return (
        numpy.concatenate((first, before[is_other])),
        numpy.concatenate((this, this[is_other])),
    )


def _band_keys(numpy: Any, columns: Any) -> Any:
    """One 64-bit key a row of a band."""
    key = numpy.full(len(columns), 0x9E3779B97F4A7C15, dtype=numpy.uint64)
    for index in range(columns.shape[1]):
        key ^= columns[:, index].astype(numpy.uint64)
        key *= numpy.uint64(0xFF51AFD7ED558CCD)
        key ^= key >> numpy.uint64(29)
    return key


def _verified(
    numpy: Any, matrix: Matrix, pairs: tuple[Any, Any], similarity: float
) -> Iterator[tuple[Any, Any, Any]]:
    first, second = pairs
    for start in range(0, len(first), BATCH_PAIRS):
        a, b = first[start : start + BATCH_PAIRS], second[start : start + BATCH_PAIRS]
        alike = (matrix.rows(a) == matrix.rows(b)).mean(axis=1)
        is_near = alike >= similarity
        if is_near.any():
            yield a[is_near], b[is_near], alike[is_near]


def join(labels: Any, first: Any, second: Any) -> Any:
    """Components after edges between `first` and `second`; a label is a component's least member.

    `labels` are those before; they are changed in place and returned.
    """
    numpy, _ = require_extra()
    for _ in range(ROUNDS_MAX):
        a, b = labels[first], labels[second]
        is_open = a != b
        if not is_open.any():
            break
        first, second, a, b = first[is_open], second[is_open], a[is_open], b[is_open]
        numpy.minimum.at(labels, numpy.maximum(a, b), numpy.minimum(a, b))
        flatten(labels)
    return labels


def flatten(labels: Any) -> None:
    """Let every label be a component's own, not one on the way to it."""
    while True:
        further = labels[labels]
        if (further == labels).all():
            return
        labels[:] = further


def join_equal(labels: Any, keys: Any, *, but: int = 0) -> Any:
    """Join what has the same key; rows whose key is `but` have none."""
    numpy, _ = require_extra()
    order = numpy.argsort(keys, kind="stable")
    ordered = keys[order]
    is_same = (ordered[1:] == ordered[:-1]) & (ordered[1:] != but)
    return join(labels, order[:-1][is_same], order[1:][is_same])
