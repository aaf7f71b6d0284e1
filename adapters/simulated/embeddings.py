"""The shape of the embeddings API. The same text has the same vector, and no other text has it."""

import base64
import hashlib
import math
import random
import struct

import msgspec

from .call import Call, CallRefused, check_count, decode_body, faults_of, inputs_of
from .chat import Json, encode
from .text import count_tokens

DIMENSIONS = 64
DIMENSIONS_MAX = 4096
INPUTS_MAX = 2048


class _Body(msgspec.Struct):
    model: str
    input: str | list[object]
    encoding_format: str | None = "float"
    dimensions: int | None = None
    metadata: dict[str, str] | None = None
    """Not a member of this API: faults are asked for by it all the same."""


_decode = msgspec.json.Decoder(_Body).decode


def read(raw: bytes, *, model: str) -> tuple[Call, bytes]:
    """What is asked, and the whole answer to it. Raises CallRefused."""
    body = decode_body(_decode, raw, model)
    check_count("dimensions", body.dimensions, DIMENSIONS_MAX)
    texts = inputs_of(body.input)
    if not 0 < len(texts) <= INPUTS_MAX:
        raise CallRefused(400, f"'input' must hold 1 to {INPUTS_MAX} items.", param="input")
    is_base64 = body.encoding_format == "base64"
    data = [
        _entry(index, vector(text, body.dimensions or DIMENSIONS), is_base64=is_base64)
        for index, text in enumerate(texts)
    ]
    tokens = sum(map(count_tokens, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    call = Call(body.model, texts[-1], sum(map(len, texts)), faults=faults_of(body.metadata))
    return call, encode({"object": "list", "data": data, "model": body.model, "usage": usage})


def vector(text: str, dimensions: int) -> list[float]:
    """A vector of length 1 that follows from the text alone."""
    draw = random.Random(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    values = [draw.gauss() for _ in range(dimensions)]
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]


def _entry(index: int, values: list[float], *, is_base64: bool) -> Json:
    embedding: object = values
    if is_base64:
        embedding = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    return {"object": "embedding", "index": index, "embedding": embedding}
