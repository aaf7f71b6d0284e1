"""The files that evaluators read: what is asked, and the answer it is held against. Pure."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from .answer_match import answer_text
from .chat_row import TOOL_INVALID, Excluded
from .example import Example, Json

IMAGES: Final = "images"
PROMPTFOO_HEAD: Final = b"""\
# promptfoo eval -c THIS FILE -r PROVIDER
prompts: ["{{messages}}"]
tests:
"""

_TEMPLATE: Final = re.compile(r"\{(?=[{%#])")
_NOT_IN_YAML: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")

_encode = msgspec.json.Encoder().encode


def inspect(example: Example) -> Json:
    """Inspect's samples. Its messages have calls and images of a shape of their own."""
    metadata = {
        "request_id": example.request_id,
        "split": example.split,
        "group_key": example.group_key,
        "label_source": example.label_source,
    }
    return {
        "input": _inspect_messages(example.messages),
        "target": answer_text(example.target),
        "id": example.id,
        "metadata": {key: value for key, value in metadata.items() if value},
    }


def promptfoo(example: Example) -> Json:
    """One of promptfoo's `tests`: the messages as JSON text, for its prompt is one variable.

    What it would take for a template in them is escaped. An answer that is JSON is compared by
    value, any other by its text.
    """
    return {
        "vars": {"messages": _escaped(_encode(example.messages).decode())},
        "assert": [{"type": "equals", "value": _expected(answer_text(example.target))}],
        "metadata": {"id": example.id, "request_id": example.request_id},
    }


def yaml_item(row: Json) -> bytes:
    """A row as an item of a YAML list: JSON is YAML, but for characters that YAML cannot hold."""
    text = _encode(row).decode()
    return b"- " + _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def called(call: Json) -> tuple[str, object]:
    """Name and arguments (as a value) of a tool call. Raises Excluded."""
    function = call.get("function")
    if not isinstance(function, dict):
        raise Excluded(TOOL_INVALID)
    try:
        arguments = msgspec.json.decode(str(function.get("arguments")))
    except (msgspec.DecodeError, UnicodeError):
        raise Excluded(TOOL_INVALID) from None
    return str(function.get("name")), arguments


def _inspect_messages(messages: Sequence[Json]) -> list[Json]:
    names: dict[object, str] = {}
    found: list[Json] = []
    for message in messages:
        role = "system" if message["role"] == "developer" else message["role"]
        turn: Json = {"role": role, "content": _inspect_content(message.get("content", ""))}
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            turn["tool_calls"] = [_inspect_call(call) for call in calls]
            names |= {call.get("id"): called(call)[0] for call in calls}
        identifier = message.get("tool_call_id")
        if role == "tool":
            turn["tool_call_id"] = identifier
            if identifier in names:
                turn["function"] = names[identifier]
        found.append(turn)
    return found


def _inspect_call(call: Json) -> Json:
    name, arguments = called(call)
    if not isinstance(arguments, dict):
        raise Excluded(TOOL_INVALID)
    return {"id": call.get("id"), "function": name, "arguments": arguments, "type": "function"}


def _inspect_content(content: object) -> object:
    if not isinstance(content, list):
        return content
    return [_inspect_part(part) for part in content]


def _inspect_part(part: object) -> Json:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    image = part.get("image_url") if isinstance(part, dict) else None
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise Excluded(IMAGES)
    return {"type": "image", "image": url}


def _escaped(text: str) -> str:
    """Braces that begin a template, as one that writes them."""
    return _TEMPLATE.sub("{{ '{' }}", text)


def _expected(text: str) -> object:
    try:
        value = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeError):
        return _escaped(text)
    return value if isinstance(value, dict | list) else _escaped(text)
