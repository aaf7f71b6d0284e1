"""One assistant message from what a client received: a JSON answer, or a stream's chunks. Pure.

The bytes are what they are: nothing is repaired. Where they are no whole chat answer, the result
is None, and whoever asked counts it.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from adapters.sse import event_data, split_events

Json = dict[str, object]

TEXT_KEYS: Final = ("content", "refusal", "reasoning_content", "reasoning")
"""Parts of a message that a stream sends in pieces; the last two are what servers call thinking."""

_DONE: Final = b"[DONE]"


class Assembled(msgspec.Struct, frozen=True):
    """Choice 0 of an answer. `message` has no null and no empty keys but `content`."""

    message: Json
    finish_reason: str | None
    choices: int
    """How many there were."""
    is_whole: bool
    """A stream: its choice was finished. Anything else: always."""


def assemble(body: bytes) -> Assembled | None:
    """The answer in `body`, or None where it holds none."""
    if body.lstrip()[:1] == b"{":
        return _from_json(body)
    return _from_stream(body)


def _from_json(body: bytes) -> Assembled | None:
    answer = _parsed(body)
    choices = answer.get("choices") if answer else None
    if not isinstance(choices, list) or not choices:
        return None
    first = next((c for c in choices if isinstance(c, dict) and c.get("index", 0) == 0), None)
    message = first.get("message") if first else None
    if first is None or not isinstance(message, dict):
        return None
    return Assembled(_cleaned(message), _text(first.get("finish_reason")), len(choices), True)


def _from_stream(body: bytes) -> Assembled | None:
    draft = _Draft()
    for chunk in _chunks(body):
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                draft.add(choice)
    if not draft.seen:
        return None
    finish = draft.finish_reason
    return Assembled(draft.message(), finish, len(draft.seen), finish is not None)


class _Draft:
    """Choice 0 of a stream, growing."""

    def __init__(self) -> None:
        self.seen: set[object] = set()
        self.finish_reason: str | None = None
        self._role = "assistant"
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, _CallDraft] = {}

    def add(self, choice: Json) -> None:
        index = choice.get("index", 0)
        self.seen.add(index)
        if index != 0:
            return
        self.finish_reason = _text(choice.get("finish_reason")) or self.finish_reason
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._add_delta(delta)

    def _add_delta(self, delta: Json) -> None:
        self._role = _text(delta.get("role")) or self._role
        for key in TEXT_KEYS:
            piece = delta.get(key)
            if isinstance(piece, str):
                self._texts.setdefault(key, []).append(piece)
        calls = delta.get("tool_calls")
        for position, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                index = call.get("index", position)
                self._calls.setdefault(index if isinstance(index, int) else 0, _CallDraft()).add(
                    call
                )

    def message(self) -> Json:
        texts: Json = {key: "".join(pieces) for key, pieces in self._texts.items()}
        calls = [call.whole() for _, call in sorted(self._calls.items())]
        return _cleaned({"role": self._role, **texts, "tool_calls": calls})


class _CallDraft:
    """One tool call of a stream: its parts come once, its arguments in pieces."""

    def __init__(self) -> None:
        self._parts: Json = {"type": "function"}
        self._name: list[str] = []
        self._arguments: list[str] = []

    def add(self, call: Json) -> None:
        for key in ("id", "type"):
            value = _text(call.get(key))
            if value:
                self._parts[key] = value
        function = call.get("function")
        if isinstance(function, dict):
            self._name.append(_text(function.get("name")) or "")
            self._arguments.append(_text(function.get("arguments")) or "")

    def whole(self) -> Json:
        function = {"name": "".join(self._name), "arguments": "".join(self._arguments)}
        return {**self._parts, "function": function}


def _chunks(body: bytes) -> Iterator[Json]:
    for event in split_events(body):
        data = event_data(event)
        if data is None or data.strip() == _DONE:
            continue
        chunk = _parsed(data)
        if chunk is not None:
            yield chunk


def _parsed(data: bytes) -> Json | None:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None


def _cleaned(message: Mapping[str, object]) -> Json:
    """Without null and empty keys; an empty `content` stays where nothing else was said."""
    kept = {key: value for key, value in message.items() if value not in (None, "", [], {})}
    if "content" not in kept and "tool_calls" not in kept and "refusal" not in kept:
        kept["content"] = ""
    return {"role": "assistant", **kept}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
