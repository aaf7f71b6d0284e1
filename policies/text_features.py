"""What may be read from a text without understanding it: hashed n-grams and shape.

The one definition, used by the fit (learning/fit.py) and by every decision, so that a served
model sees what the fitted one saw. Words and single signs count, alone and in pairs of
neighbours; of a multiple-choice question the shape of its options tells as much as its words.

N-grams are hashed to slots of a table and never kept as text. 2^19 slots for the 95,000 n-grams
of MMLU rank as well as hashes of 32 bits (2^18 cost 0.001 of APGR), and a look-up goes to one place
in memory instead of four: that is most of a decision's time, for other work has filled the caches
meanwhile.
The hashes of all words stand side by side in one whole number, so that a handful of operations
masks them all and makes all pairs.
"""

import re
from array import array
from collections.abc import Sequence
from math import log1p
from sys import byteorder
from zlib import crc32

TEXT_CHARACTERS_MAX = 4096
"""What is read of a text: its beginning and end, half of it each. Bounds a decision's time."""
TOKENS_MAX = TEXT_CHARACTERS_MAX + 1
"""A text as it is read has no more."""
SLOT_BITS_MIN, SLOT_BITS_MAX = 10, 19
OPTIONS_MAX = 10

SHAPE_NAMES = (
    "characters", "lines", "word_characters", "apostrophes", "bars", "options",
    "options_characters", "longest", "shortest", "options_repeated", "rest_characters",
)  # fmt: skip
"""Signs and negations are n-grams already. Twelve more (digits, capitals, blanks, brackets, quotes,
numeric options and their like) were tried: no figure moved by more than 0.002, for 9 us."""

_LANE_BITS = 32
_PAIR_SHIFT = 7
"""The upper bits of the first word's hash beside the lower ones of the second's."""
_MASKS = tuple(
    [
        int.from_bytes(((1 << bits) - 1).to_bytes(_LANE_BITS // 8, "little") * TOKENS_MAX, "little")
        for bits in range(SLOT_BITS_MAX + 1)
    ]
)
"""By number of bits, for as many lanes as there may be."""
_NO_SIGNS = bytes(
    [
        byte
        for byte in range(256)
        if byte >= 128 or chr(byte).isalnum() or chr(byte) in "_ \t\n\r\f\v"
    ]
)
_SIGNS = tuple([bytes([byte]) for byte in range(128)])
_SIGNS_APART = tuple([b" %c " % byte for byte in range(128)])
_OPTION = re.compile(r"\n\(?[A-Za-z0-9][.)] ?([^\n]*)")


def read_part(text: str) -> str:
    """What is read of a text: all of it, or of a long one its beginning and its end."""
    if len(text) <= TEXT_CHARACTERS_MAX:
        return text
    half = TEXT_CHARACTERS_MAX // 2
    return f"{text[:half]}\n{text[-half:]}"


def tokens_of(text: str) -> list[bytes]:
    """Words and single signs in order, in lower case, as UTF-8. A regular expression for the same
    takes half as long again."""
    data = text.lower().encode("utf-8", "replace")
    for sign in set(data.translate(None, _NO_SIGNS)):
        data = data.replace(_SIGNS[sign], _SIGNS_APART[sign])
    return data.split()


def slots_of(tokens: Sequence[bytes], bits: int) -> set[int]:
    """The slots, below 2^bits, of every token and of every pair of neighbours, each once. The
    last token is the first of a pair with nothing: how a text ends.
    """
    hashes = array("I", map(crc32, tokens[:TOKENS_MAX]))
    count = len(hashes)
    if byteorder == "big":
        hashes.byteswap()
    lanes = int.from_bytes(hashes.tobytes(), "little")
    mask = _MASKS[bits]
    pairs = ((lanes >> _LANE_BITS) ^ (lanes >> _PAIR_SHIFT)) & mask
    slots = array("I")
    joined = (lanes & mask) | (pairs << _LANE_BITS * count)
    slots.frombytes(joined.to_bytes(2 * hashes.itemsize * count, "little"))
    if byteorder == "big":
        slots.byteswap()
    return set(slots)


def shape_of(text: str, tokens: Sequence[bytes]) -> tuple[float, ...]:
    """The figures of SHAPE_NAMES, in their order."""
    count = len(tokens) or 1
    characters = len(text)
    lines = text.count("\n")
    options = _OPTION.findall(text)[:OPTIONS_MAX] if lines else []
    lengths = list(map(len, options)) or [0]
    total = sum(lengths)
    words = " ".join(options).lower().split()
    return (
        log1p(characters),
        log1p(lines),
        characters / count,
        log1p(text.count("'")),
        log1p(text.count("|")),
        float(len(options)),
        log1p(total),
        log1p(max(lengths)),
        log1p(min(lengths)),
        1.0 - len(set(words)) / (len(words) + 1),
        log1p(characters - total),
    )
