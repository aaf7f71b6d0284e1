"""A fitted text model as bytes, and back in slices that stall no loop.

100,000 n-grams take 40 ms to read, which a worker would spend standing still; so `loading` gives
way after every slice and hands out the model at the end.

    header: format, heads, labels, lanes, n-grams of each text   msgpack, behind its length
    keys:   4 bytes each, little-endian; then the lanes, `lanes` x 8 bytes each
"""

import struct
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from sys import byteorder

import msgspec

from .text_model import LANE_BITS, Grams, Head, TextModel

FORMAT = 1
SLICE = 2000
"""N-grams read at a stretch: below a millisecond."""
GRAMS_MAX = 1_000_000
_LENGTH = struct.Struct("<I")
_KEY_BYTES = 4
_LANE_BYTES = LANE_BITS // 8 + 1


class _Header(msgspec.Struct, frozen=True, array_like=True):
    format: int
    heads: tuple[Head, ...]
    labels: int
    value_bytes: int
    counts: tuple[int, ...]


def model_bytes(model: TextModel) -> bytes:
    """The whole model; `loading` gives one that predicts the same to the last digit."""
    value_bytes = _LANE_BYTES * (len(model.heads) + 1)
    header = msgspec.msgpack.encode(
        _Header(FORMAT, model.heads, model.labels, value_bytes, tuple(map(len, model.texts)))
    )
    parts = [_LENGTH.pack(len(header)), header]
    for grams in model.texts:
        keys = array("I", grams)
        if byteorder == "big":
            keys.byteswap()
        parts.append(keys.tobytes())
        parts += [value.to_bytes(value_bytes, "little", signed=True) for value in grams.values()]
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
    texts: list[Grams] = []
    for count in header.counts:
        keys = array("I", data[at : at + _KEY_BYTES * count])
        if byteorder == "big":
            keys.byteswap()
        at += _KEY_BYTES * count
        grams: Grams = {}
        for place in range(0, count, SLICE):
            part = keys[place : place + SLICE]
            grams.update(zip(part, _values(data, at, len(part), header.value_bytes), strict=True))
            at += len(part) * header.value_bytes
            yield None
        texts.append(grams)
    yield TextModel(tuple(texts), header.heads, header.labels)


def _read_header(data: bytes, start: int, end: int) -> tuple[_Header, int]:
    try:
        (length,) = _LENGTH.unpack_from(data, start)
        at = start + _LENGTH.size + length
        header = msgspec.msgpack.decode(data[at - length : at], type=_Header)
    except (struct.error, msgspec.DecodeError) as error:
        raise ValueError(f"not a text model: {error}") from None
    size = sum(header.counts) * (_KEY_BYTES + header.value_bytes)
    if header.format != FORMAT:
        raise ValueError(f"a text model of format {header.format}; this program reads {FORMAT}")
    if header.value_bytes != _LANE_BYTES * (len(header.heads) + 1):
        raise ValueError("a text model whose lanes do not fit its heads")
    if min(header.counts, default=0) < 0 or sum(header.counts) > GRAMS_MAX:
        raise ValueError(f"a text model of more than {GRAMS_MAX:,} n-grams")
    if end != at + size:
        raise ValueError("a text model cut short, or with something behind it")
    return header, at


def _values(data: bytes, at: int, count: int, size: int) -> Iterator[int]:
    for start in range(at, at + count * size, size):
        yield int.from_bytes(data[start : start + size], "little", signed=True)
