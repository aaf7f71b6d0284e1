"""Which of a million texts are nearly the same: MinHash signatures, banded (LSH), verified.

128 permutations of word 5-shingles, signatures by rensa. 25 bands of 5 rows: two texts of Jaccard
similarity 0.8 share a band with probability 0.99995, of 0.7 with 0.99. Every pair that shares one
is checked against the signatures. Signatures lie in a file and are mapped, so memory stays small:
per text 8 bytes a band being sorted, and the labels.
"""

from array import array
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from pointsman.errors import PointsmanError

if TYPE_CHECKING:
    import numpy

PERMUTATIONS: Final = 128
BANDS: Final = 25
BAND_ROWS: Final = 5
SHINGLE_WORDS: Final = 5
SEED: Final = 42
BATCH_TEXTS: Final = 2000
BATCH_PAIRS: Final = 50_000
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

    def _write(self) -> None:
        if self._waiting:
            digests = self._rensa.RMinHash.digests_from_token_sets(
                self._waiting, PERMUTATIONS, SEED
            )
            self._file.writelines(array("I", row).tobytes() for row in digests)
            self._waiting = []

    def matrix(self) -> "numpy.ndarray[Any, Any]":
        """One row a text, mapped from the file."""
        self._write()
        self._file.flush()
        shape = (self.count, PERMUTATIONS)
        if not self.count:
            return self._numpy.zeros(shape, dtype="=u4")  # type: ignore[no-any-return]
        return self._numpy.memmap(self._path, dtype="=u4", mode="r", shape=shape)  # type: ignore[no-any-return]


def near_pairs(
    matrix: "numpy.ndarray[Any, Any]", similarity: float, rows: Any = None
) -> "Iterator[tuple[Any, Any, Any]]":
    """Arrays (first, second, estimated similarity) of pairs at or above `similarity`.

    `rows` are the places that are compared; None: all. The matrix itself is never copied.

    In each bucket every text is held against the first of it and the one before it, so a bucket
    of n costs 2n comparisons: enough to join a cluster, whose texts meet in many bands.
    """
    numpy, _ = require_extra()
    places = numpy.arange(len(matrix)) if rows is None else rows
    for band in range(BANDS):
        columns = matrix[places, band * BAND_ROWS : (band + 1) * BAND_ROWS]
        keys = _band_keys(numpy, columns)
        order = numpy.argsort(keys, kind="stable")
        ordered = keys[order]
        is_same = ordered[1:] == ordered[:-1]
        later = numpy.nonzero(is_same)[0] + 1
        if not len(later):
            continue
        starts = numpy.nonzero(numpy.concatenate(([True], ~is_same)))[0]
        first = places[order[starts[numpy.searchsorted(starts, later, side="right") - 1]]]
        this, before = places[order[later]], places[order[later - 1]]
        is_other = before != first
        pairs = (
            numpy.concatenate((first, before[is_other])),
            numpy.concatenate((this, this[is_other])),
        )
        yield from _verified(numpy, matrix, pairs, similarity)


def _band_keys(numpy: Any, columns: Any) -> Any:
    """One 64-bit key a row of a band."""
    key = numpy.full(len(columns), 0x9E3779B97F4A7C15, dtype=numpy.uint64)
    for index in range(columns.shape[1]):
        key ^= columns[:, index].astype(numpy.uint64)
        key *= numpy.uint64(0xFF51AFD7ED558CCD)
        key ^= key >> numpy.uint64(29)
    return key


def _verified(
    numpy: Any, matrix: Any, pairs: tuple[Any, Any], similarity: float
) -> Iterator[tuple[Any, Any, Any]]:
    first, second = pairs
    for start in range(0, len(first), BATCH_PAIRS):
        a, b = first[start : start + BATCH_PAIRS], second[start : start + BATCH_PAIRS]
        alike = (matrix[a] == matrix[b]).mean(axis=1)
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
