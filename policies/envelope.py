"""Reading the envelope of a request, whatever its API: tolerant of all but what it must know.

Only the top level is decoded; what the decision does not look at stays raw JSON. A member that
is not named by a request's type may be of any kind: the backend judges it.
"""

import codecs
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from .request import NOTHING, Message, RequestError, Tool

COUNT_MAX: Final = (1 << 31) - 1
"""Of tokens or choices; beyond it the backend says what it thinks of that."""
TELLING_BYTES_MAX: Final = 64 * 1024
"""Of a content; a document of 20 MB would be copied and hashed for 25 ms."""
START_BYTES: Final = 256 * 1024
"""Of a long list of messages so much is read first: half a million of them take 100 ms."""
START_TRIES: Final = 8
"""A list is cut behind what looks like the end of a message, and perhaps is not."""
_SYSTEM_ROLES: Final = ("system", "developer")

Request = TypeVar("Request")

_decode_messages: Final = msgspec.json.Decoder(list[Message]).decode
_decode_tools: Final = msgspec.json.Decoder(list[Tool]).decode
_Decoder: Final = codecs.getincrementaldecoder("utf-8")


def read_envelope(decode: Callable[[bytes], Request], body: bytes) -> Request:
    """`decode(body)`. Raises RequestError naming the parameter at fault."""
    try:
        if not body.isascii():
            _check_text(body)  # the decoder does not look into what it leaves raw
        return decode(body)
    except msgspec.ValidationError as error:
        raise _envelope_error(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestError("The request body is not valid JSON.") from None
    except RecursionError:
        raise RequestError("The request body is nested too deeply.") from None


def _check_text(body: bytes) -> None:
    """Raise UnicodeDecodeError where it is not UTF-8; in pieces, for a large one would be held
    three times."""
    decoder = _Decoder()
    for start in range(0, len(body), START_BYTES):
        decoder.decode(body[start : start + START_BYTES])
    decoder.decode(b"", True)


def messages(raw: msgspec.Raw) -> list[Message]:
    """A list of messages; empty where it is none: the backend says what it thinks of that."""
    try:
        return _decode_messages(raw) if raw else []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def tool_names(tools: msgspec.Raw, functions: msgspec.Raw = NOTHING) -> tuple[bytes, bool]:
    """The names of all tools, one a line, and whether there are any."""
    if not tools and not functions:
        return b"", False
    named = _tools(tools) + _tools(functions)
    names = "\n".join(tool.function.name or tool.name for tool in named)
    return names.encode(), _has_items(tools) or _has_items(functions)


def survey(raw: msgspec.Raw, image_mark: bytes) -> tuple[bytes, bytes, bool]:
    """Raw content of the first system and the first user message, and whether images occur.

    `image_mark` is a quoted word that only a message with an image has.
    """
    system = user = None
    may_have_images = bytes(raw).rfind(image_mark) >= 0  # a third of the time of `in`
    has_images = False
    surveyed = messages(raw) if may_have_images else first_messages(raw)
    for message in surveyed:
        if system is None and message.role in _SYSTEM_ROLES:
            system = _start_of(message.content)
        elif user is None and message.role == "user":
            user = _start_of(message.content)
        if may_have_images:
            # A quote inside JSON text is escaped, so this word cannot be meant by a user's words.
            content = bytes(message.content)
            has_images = has_images or (content[:1] == b"[" and image_mark in content)
        elif system is not None and user is not None:
            break
    return system or b"", user or b"", has_images


def first_messages(raw: msgspec.Raw) -> list[Message]:
    """All messages of a short list; of a long one those of its start, where one is the user's."""
    if len(raw) <= START_BYTES:
        return messages(raw)
    start = bytes(memoryview(raw)[:START_BYTES])
    end = len(start)
    for _ in range(START_TRIES):
        end = start.rfind(b"}", 0, end)
        if end < 0:
            break
        found = _cut_list(start[: end + 1])
        if found is not None and any(message.role == "user" for message in found):
            return found
    return messages(raw)


def _cut_list(start: bytes) -> list[Message] | None:
    """The messages of a list without its end, if it was cut behind one of them."""
    try:
        return _decode_messages(start + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _start_of(content: msgspec.Raw) -> bytes:
    """What tells one content from others: all of it, or a long one's beginning and its length."""
    if len(content) <= TELLING_BYTES_MAX:
        return bytes(content)
    return b"%b%d" % (bytes(memoryview(content)[:TELLING_BYTES_MAX]), len(content))


def _has_items(raw: msgspec.Raw) -> bool:
    """Whether it is a list that is not empty, whatever is in it."""
    text = bytes(raw)
    return text.startswith(b"[") and bool(text.strip(b"[] \t\r\n"))


def _tools(raw: msgspec.Raw) -> list[Tool]:
    try:
        return _decode_tools(raw) if raw else []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def texts_of(content: object) -> list[str]:
    """The texts of a message's content: a string, or parts some of which carry text."""
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return [text for text in texts if isinstance(text, str)]


def plain(raw: msgspec.Raw) -> Any:
    """The value of raw JSON; None where there is none, or it cannot be read."""
    try:
        return msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def positive(value: object) -> int | None:
    """A count above zero, else None; one that no record could hold is none either."""
    return value if type(value) is int and 0 < value <= COUNT_MAX else None


def _envelope_error(detail: str) -> RequestError:
    if "missing required field `model`" in detail:
        return RequestError("You must provide a model parameter.", "model")
    for name, kind in (("model", "a string"), ("stream", "a boolean")):
        if f"`$.{name}`" in detail:
            return RequestError(
                f"Invalid type for '{name}': expected {kind}.", name, "invalid_type"
            )
    return RequestError("The request body must be a JSON object.")
