"""Which examples stay, and on which side of the split: decided for all of them at once. Pure.

    same input                     -> one stays (`duplicate`)
    nearly the same, same answer   -> one stays (`near_duplicate`)
    an earlier turn of a chat      -> leaves (`conversation_prefix`)
    groups: same conversation, same input, near-duplicates; a group lies on one side
    side = hash(salt, smallest example of the group); a group that had a test row in an earlier
    version is in test again, and its rows that were trained on leave (`was_train`)

Columns of numbers stand for the examples, so a million of them take some hundred megabytes.
"""

import hashlib
import struct
from array import array
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from .dataset_spec import SplitRule
from .near import Matrix, flatten, join, join_equal, near_pairs, require_extra

KEPT: Final = 0
CODES: Final = ("", "duplicate", "near_duplicate", "conversation_prefix", "was_train")
SPLITS: Final = ("train", "valid", "test", "holdout")
DAY_US: Final = 86_400_000_000
TRAIN, VALID, TEST, HOLDOUT = range(4)
_WORD: Final = 2**64


class Columns:
    """What is known of each example, in the order they were added."""

    def __init__(self) -> None:
        self.identity = array("Q")
        """First 64 bits of the example's sha256."""
        self.input = array("Q")
        self.target = array("Q")
        self.conversation = array("Q")
        """0: none."""
        self.turn = array("Q")
        """Of the chat up to and with the answer."""
        self.earlier = array("Q")
        """Turns that examples have behind them; any number an example."""
        self.ts_us = array("q")
        self.rank = array("b")
        """How much its label counts."""
        self.tokens = array("I")
        self.digest = bytearray()
        """The example's sha256, 32 bytes each."""

    def __len__(self) -> int:
        return len(self.identity)

    def write(self, file: BinaryIO) -> None:
        """All of it, for `add_file`."""
        for column in self._arrays():
            file.write(struct.pack("<Q", len(column)))
            column.tofile(file)
        file.write(self.digest)

    def add_file(self, file: BinaryIO) -> None:
        """What another has written."""
        for column in self._arrays():
            (count,) = struct.unpack("<Q", file.read(8))
            column.fromfile(file, count)
        self.digest += file.read()

    def _arrays(self) -> "tuple[array[int], ...]":
        return (self.identity, self.input, self.target, self.conversation, self.turn,
                self.earlier, self.ts_us, self.rank, self.tokens)  # fmt: skip


class Earlier(NamedTuple):
    """Identities (64 bits) of examples of earlier versions; arrays."""

    test: Any
    train: Any


class Wanted(msgspec.Struct, frozen=True):
    """What is removed and how it is split."""

    split: SplitRule
    duplicate_similarity: float
    group_similarity: float
    allow: tuple[str, ...] = ()


class Decided(NamedTuple):
    """Arrays, one value an example."""

    code: Any
    """Index into CODES; 0 stays."""
    split: Any
    """Index into SPLITS."""
    group: Any
    """Identity (64 bits) of the smallest example of its group."""
    count: Any
    """How many examples it stands for."""
    naive_leaks: float
    """Share of the test rows of a random split by row that would lie beside a train row."""


def decide(
    columns: Columns,
    matrix: Matrix,
    wanted: Wanted,
    earlier: Earlier,
    *,
    progress: Callable[[str], None] = lambda doing: None,
) -> Decided:
    """Decide about every example; `matrix` are their signatures."""
    numpy, _ = require_extra()
    table = {
        name: numpy.frombuffer(getattr(columns, name), dtype=kind)
        for name, kind in (("identity", "u8"), ("input", "u8"), ("target", "u8"),
                           ("conversation", "u8"), ("turn", "u8"), ("earlier", "u8"),
                           ("ts_us", "i8"), ("rank", "i1"))
    } if len(columns) else _empty(numpy)  # fmt: skip
    count = len(columns)
    exact = join_equal(numpy.arange(count), table["input"])
    groups = join_equal(exact.copy(), table["conversation"])
    progress("comparing")
    alike = _near(numpy, table, exact, groups, matrix, wanted)
    code = numpy.zeros(count, dtype="i1")
    order = _best_first(numpy, table)
    _mark_all_but_best(numpy, code, exact, order, wanted, 1)
    _mark_all_but_best(numpy, code, alike, order, wanted, 2)
    if "conversation_prefix" not in wanted.allow and len(table["earlier"]):
        is_earlier = numpy.isin(table["turn"], table["earlier"])
        code[(code == KEPT) & is_earlier] = 3
    progress("splitting")
    group = _group_keys(numpy, groups, table["identity"])
    split = _sides(numpy, table, group, wanted.split, earlier.test)
    is_spent = (split == TEST) & numpy.isin(table["identity"], earlier.train)
    code[(code == KEPT) & is_spent] = 4
    counts = numpy.bincount(alike, minlength=count)[alike] if count else numpy.zeros(0, "i8")
    return Decided(code, split, group, counts, _naive_leaks(numpy, group, code, wanted.split))


def _empty(numpy: Any) -> dict[str, Any]:
    kinds = {"ts_us": "i8", "rank": "i1"}
    names = ("identity", "input", "target", "conversation", "turn", "earlier", "ts_us", "rank")
    return {name: numpy.zeros(0, dtype=kinds.get(name, "u8")) for name in names}


def _near(
    numpy: Any, table: Mapping[str, Any], exact: Any, groups: Any, matrix: Matrix, wanted: Wanted
) -> Any:
    """Components of nearly the same question and the same answer; `groups` is joined as well."""
    alike = exact.copy()
    threshold = min(wanted.group_similarity, wanted.duplicate_similarity)
    representatives = numpy.nonzero(exact == numpy.arange(len(exact)))[0]
    for a, b, similarity in near_pairs(matrix, threshold, representatives):
        is_group = similarity >= wanted.group_similarity
        join(groups, a[is_group], b[is_group])
        same_answer = table["target"][a] == table["target"][b]
        is_copy = (similarity >= wanted.duplicate_similarity) & same_answer
        join(alike, a[is_copy], b[is_copy])
    join(groups, numpy.arange(len(exact)), exact)
    flatten(groups)
    return alike


def _best_first(numpy: Any, table: Mapping[str, Any]) -> Any:
    """Rows by how much their label counts, then newest, then by identity."""
    return numpy.lexsort((table["identity"], -table["ts_us"], -table["rank"].astype("i8")))


def _mark_all_but_best(
    numpy: Any, code: Any, labels: Any, order: Any, wanted: Wanted, number: int
) -> None:
    """Of every component of `labels`, all rows but the best of those that stay."""
    if CODES[number] in wanted.allow or not len(code):
        return
    staying = order[code[order] == KEPT]
    _, first = numpy.unique(labels[staying], return_index=True)
    is_best = numpy.zeros(len(code), dtype=bool)
    is_best[staying[first]] = True
    code[(code == KEPT) & ~is_best] = number


def _group_keys(numpy: Any, groups: Any, identity: Any) -> Any:
    """The smallest identity of each row's group."""
    smallest = numpy.full(len(groups), _WORD - 1, dtype="u8")
    numpy.minimum.at(smallest, groups, identity)
    return smallest[groups]


def _sides(
    numpy: Any, table: Mapping[str, Any], group: Any, rule: SplitRule, earlier_test: Any
) -> Any:
    keys, inverse = numpy.unique(group, return_inverse=True)
    side = numpy.fromiter((side_of(int(key), rule) for key in keys), dtype="i1", count=len(keys))
    if rule.holdout_days and len(group):
        oldest = numpy.full(len(keys), numpy.iinfo("i8").max, dtype="i8")
        numpy.minimum.at(oldest, inverse, table["ts_us"])
        late = table["ts_us"].max() - int(rule.holdout_days * DAY_US)
        side[oldest >= late] = HOLDOUT
    was_test = numpy.isin(table["identity"], earlier_test)
    side[inverse[was_test]] = TEST
    return side[inverse]


def side_of(group: int, rule: SplitRule) -> int:
    """Where a group lies: index into SPLITS."""
    digest = hashlib.sha256(f"{rule.salt}|{group:016x}".encode()).digest()
    lot = int.from_bytes(digest[:8], "big") / _WORD
    if lot < rule.test:
        return TEST
    return VALID if lot < rule.test + rule.valid else TRAIN


def _naive_leaks(numpy: Any, group: Any, code: Any, rule: SplitRule) -> float:
    """What a split by row instead of by group would leak."""
    kept = group[code == KEPT]
    if not len(kept):
        return 0.0
    is_test = numpy.random.default_rng(0).random(len(kept)) < (rule.test or 0.1)
    if not is_test.any():
        return 0.0
    return float(numpy.isin(kept[is_test], kept[~is_test]).mean())
