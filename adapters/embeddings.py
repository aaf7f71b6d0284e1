"""One answer of the embeddings API, as far as it is read: not the vectors."""

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from .completion import Tokens, fitting, loose_object


class EmbeddingsUsage(Struct):
    prompt_tokens: Tokens | None = None


class Embeddings(Struct):
    model: str | None = None
    usage: EmbeddingsUsage | None = None
    data: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_decode = msgspec.json.Decoder(Embeddings).decode


def read_embeddings(body: bytes) -> tuple[Embeddings | None, bool]:
    """The answer, and whether all of it had its type; None where it is no JSON object."""
    try:
        return _decode(body), True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        members = loose_object(body)
    if members is None:
        return None, False
    model, usage = fitting(members, "model", str), fitting(members, "usage", EmbeddingsUsage)
    return Embeddings(model, usage, Raw(b"[]") if "data" in members else UNSET), False
