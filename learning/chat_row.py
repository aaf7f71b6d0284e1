"""A chat as one row of an OpenAI fine-tuning file, or the reason why it is none. Pure.

Rules of the format: the last message is the assistant's and is trained on (`weight` 1), earlier
assistant turns are context (`weight` 0); tool arguments are JSON text; no null and no empty
optional keys; no keys besides `messages`, `tools`, `parallel_tool_calls`. Two neighbours of one
role are merged where both are plain text, else refused: trainers differ on what they mean.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

Json = dict[str, object]

ROLES: Final = frozenset(("system", "developer", "user", "assistant", "tool"))
MERGED_ROLES: Final = frozenset(("system", "developer", "user"))
TARGET_KEYS: Final = ("role", "content", "tool_calls")
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})

TRUNCATED: Final = "truncated"
FILTERED: Final = "filtered"
REFUSAL: Final = "refusal"
TOOL_INVALID: Final = "tool_invalid"
ROLES_INVALID: Final = "roles_invalid"
UNREADABLE: Final = "unreadable"


class Excluded(Exception):
    """The capture is no row; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def fine_tuning_row(messages: Sequence[Json], target: Json, options: Json) -> Json:
    """Context and target with their weights; `tools` and the like of `options`."""
    row: Json = {"messages": [*map(_weighted, messages), {**target, "weight": 1}]}
    if options.get("tools") not in _EMPTY:
        row["tools"] = options["tools"]
        if isinstance(options.get("parallel_tool_calls"), bool):
            row["parallel_tool_calls"] = options["parallel_tool_calls"]
    return row


def context_messages(request: Json) -> list[Json]:
    """The turns of a request, cleaned and merged. Raises Excluded."""
    return _merged([_context(message) for message in _messages(request)])


def _weighted(message: Json) -> Json:
    return {**message, "weight": 0} if message["role"] == "assistant" else message


def check_roles(messages: Sequence[Json]) -> None:
    """Raise Excluded where neighbours share a role (parallel tool replies may)."""
    for before, after in pairwise(messages):
        if before["role"] == after["role"] != "tool":
            raise Excluded(ROLES_INVALID)


def check_calls(messages: Sequence[Json]) -> None:
    """Raise Excluded unless every call has its own id and JSON arguments and is answered at once.

    The last message's calls are what is trained on: nobody has answered them yet.
    """
    known: set[object] = set()
    open_calls: set[object] = set()
    for message in messages:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_calls:
                raise Excluded(TOOL_INVALID)
            open_calls.discard(message.get("tool_call_id"))
        elif open_calls:
            raise Excluded(TOOL_INVALID)
        calls = message.get("tool_calls", ())
        for call in calls if isinstance(calls, list) else ():
            identifier = call.get("id") if isinstance(call, dict) else None
            if identifier is None or identifier in known or not _is_sound(call):
                raise Excluded(TOOL_INVALID)
            known.add(identifier)
            open_calls.add(identifier)


def _is_sound(call: Json) -> bool:
    """A named function with arguments that are JSON text."""
    function = call.get("function")
    if not isinstance(function, dict) or not function.get("name"):
        return False
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        return False
    try:
        msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _messages(request: Json) -> list[Json]:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Excluded(UNREADABLE)
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise Excluded(UNREADABLE)
    return messages


def _context(message: Json) -> Json:
    """A turn of the prompt: no empty keys, and of the assistant's turns what it said."""
    kept = {key: value for key, value in message.items() if value not in _EMPTY}
    kept.pop("weight", None)
    if kept["role"] == "assistant":
        said: Json = {key: kept[key] for key in TARGET_KEYS if key in kept}
        if "tool_calls" not in said:
            said.setdefault("content", "")  # a turn without either is none to most readers
        return said
    kept.setdefault("content", "")
    return kept


def _merged(messages: Sequence[Json]) -> list[Json]:
    """Neighbours of one role as one message, a blank line between, where both are plain text."""
    merged: list[Json] = []
    for message in messages:
        if merged and _can_merge(merged[-1], message):
            text = f"{merged[-1]['content']}\n\n{message['content']}"
            merged[-1] = {**merged[-1], "content": text}
        else:
            merged.append(message)
    return merged


def _can_merge(before: Json, after: Json) -> bool:
    return before["role"] == after["role"] in MERGED_ROLES and all(
        message.keys() == {"role", "content"} and isinstance(message["content"], str)
        for message in (before, after)
    )
