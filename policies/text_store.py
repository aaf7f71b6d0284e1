"""A fitted text model as bytes, and back in slices that stall no loop.

Tables of a million numbers take milliseconds to read, which a worker would spend standing still;
so `loading` gives way after every slice and hands out the model at the end.

    header: format, heads, labels, bits, units and pairs of each text   msgpack, behind its length
    tables: pairs x 2^bits numbers of 8 bytes, little-endian
"""

import struct
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from sys import byteorder

import msgspec

from .text_features import SLOT_BITS_MAX
from .text_model import Grams, Head, TextModel

FORMAT = 2
SLICE = 1 << 16
"""Numbers read at a stretch: half a megabyte, 0.1 ms."""
HEADS_MAX = 1000
_LENGTH = struct.Struct("<I")
_NUMBER_BYTES = 8


class _Table(msgspec.Struct, frozen=True, array_like=True):
    bits: int
    units: tuple[float, ...]
    pairs: int


class _Header(msgspec.Struct, frozen=True, array_like=True):
    format: int
    heads: tuple[Head, ...]
    labels: int
    tables: tuple[_Table, ...]


def model_bytes(model: TextModel) -> bytes:
    """The whole model; `loading` gives one that predicts the same to the last digit."""
    tables = tuple(_Table(one.bits, one.units, len(one.pairs)) for one in model.texts)
    header = msgspec.msgpack.encode(_Header(FORMAT, model.heads, model.labels, tables))
    parts = [_LENGTH.pack(len(header)), header]
    parts += [_turned(pair).tobytes() for one in model.texts for pair in one.pairs]
    return b"".join(parts)


def model_digest(data: bytes | memoryview) -> str:
    """What a lock calls the model."""
    return blake2b(data, digest_size=8).hexdigest()


def read_model(data: bytes) -> TextModel:
    """Read at once. Raises ValueError where the bytes are no model."""
    *_, model = loading(data)
    assert model is not None  # the last one is the model
    return model


def loading(data: bytes, *, start: int = 0, end: int | None = None) -> Iterator[TextModel | None]:
    """None after every slice, the model at the end. Raises ValueError, at the first step.

    The model stands between `start` and `end`; what is around it is not read.
    """
    header, at = _read_header(data, start, len(data) if end is None else end)
    texts = []
    for table in header.tables:
        pairs = []
        for _ in range(table.pairs):
            pair = array("q")
            until = at + (_NUMBER_BYTES << table.bits)
            while at < until:
                step = min(until - at, SLICE * _NUMBER_BYTES)
                pair.frombytes(data[at : at + step])
                at += step
                yield None
            pairs.append(_turned(pair))
        texts.append(Grams(table.bits, tuple(pairs), table.units))
    yield TextModel(tuple(texts), header.heads, header.labels)


def _turned(pair: "array[int]") -> "array[int]":
    """In the file's order of bytes, or from it."""
    if byteorder == "little":
        return pair
    turned = array("q", pair)
    turned.byteswap()
    return turned


def _read_header(data: bytes, start: int, end: int) -> tuple[_Header, int]:
    try:
        (length,) = _LENGTH.unpack_from(data, start)
        at = start + _LENGTH.size + length
        header = msgspec.msgpack.decode(data[at - length : at], type=_Header)
    except (struct.error, msgspec.DecodeError) as error:
        raise ValueError(f"not a text model of format {FORMAT}: {error}") from None
    if header.format != FORMAT:
        raise ValueError(f"a text model of format {header.format}; this program reads {FORMAT}")
    _check(header, end - at)
    return header, at


def _check(header: _Header, left: int) -> None:
    """What the header says of the tables must fit the heads and the bytes there are."""
    heads = len(header.heads)
    numbers = 0
    for table in header.tables:
        if not 0 <= table.bits <= SLOT_BITS_MAX or heads > HEADS_MAX:
            raise ValueError("a text model larger than any that is fitted")
        if len(table.units) != heads or table.pairs != heads // 2 + 1:
            raise ValueError("a text model whose tables do not fit its heads")
        numbers += table.pairs << table.bits
    if left != numbers * _NUMBER_BYTES:
        raise ValueError("a text model cut short, or with something behind it")
