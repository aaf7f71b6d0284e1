"""Fitted models as bytes, and back in slices that stall no loop.

digest of all that follows   16 hexadecimal digits
header: format, bytes of each model, 0 where there is none   msgpack, behind its length
the models as text_store.py writes them
"""

import struct
from collections.abc import Iterator

import msgspec

from . import text_store
from .fitted import Fitted
from .text_model import TextModel

FORMAT = 1
DIGEST_BYTES = 16
_LENGTH = struct.Struct("<I")


class _Header(msgspec.Struct, frozen=True, array_like=True):
    format: int
    prompts_bytes: int
    answers_bytes: int


def fitted_bytes(prompts: TextModel | None, answers: TextModel | None) -> bytes:
    """Both models; their digest comes first."""
    parts = [
        b"" if model is None else text_store.model_bytes(model) for model in (prompts, answers)
    ]
    header = msgspec.msgpack.encode(_Header(FORMAT, *map(len, parts)))
    body = b"".join([_LENGTH.pack(len(header)), header, *parts])
    return text_store.model_digest(body).encode() + body


def digest_in(start: bytes) -> str:
    """The digest that the first bytes name; empty where they are none of ours."""
    found = start[:DIGEST_BYTES].decode("ascii", "replace")
    is_digest = len(found) == DIGEST_BYTES and all(one in "0123456789abcdef" for one in found)
    return found if is_digest else ""


def read_fitted(data: bytes) -> Fitted:
    """Read at once. Raises ValueError where the bytes are no fitted models."""
    *_, fitted = loading(data)
    assert fitted is not None  # the last one is it
    return fitted


def loading(data: bytes) -> Iterator[Fitted | None]:
    """None after every slice, the models at the end. Raises ValueError, at the first step.

    The digest is not worked out again: whoever reads the file does that, off the loop.
    """
    header, at = _read_header(data)
    models: list[TextModel | None] = []
    for size in (header.prompts_bytes, header.answers_bytes):
        found = None
        if size:
            for step in text_store.loading(data, start=at, end=at + size):
                found = step
                yield None
        models.append(found)
        at += size
    yield Fitted(digest_in(data), *models)


def is_whole(data: bytes) -> bool:
    """Whether the digest is that of what follows. 1 ms a megabyte, other threads go on."""
    return digest_in(data) == text_store.model_digest(memoryview(data)[DIGEST_BYTES:])


def _read_header(data: bytes) -> tuple[_Header, int]:
    try:
        (length,) = _LENGTH.unpack_from(data, DIGEST_BYTES)
        at = DIGEST_BYTES + _LENGTH.size + length
        header = msgspec.msgpack.decode(data[at - length : at], type=_Header)
    except (struct.error, msgspec.DecodeError) as error:
        raise ValueError(f"no fitted models: {error}") from None
    if header.format != FORMAT:
        raise ValueError(f"fitted models of format {header.format}; this program reads {FORMAT}")
    sizes = (header.prompts_bytes, header.answers_bytes)
    if min(sizes) < 0 or len(data) != at + sum(sizes):
        raise ValueError("fitted models cut short, or with something behind them")
    return header, at
