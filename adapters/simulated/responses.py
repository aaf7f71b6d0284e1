"""The shape of the Responses API: items in, items out, every event numbered, no [DONE]."""

from collections.abc import Iterator

import msgspec

from . import chat
from .call import Call, Tool, check_count, decode_body, faults_of, text_of
from .chat import Json, encode
from .reply import Reply
from .shape import Shape

PREFIX = "resp_"


class _Format(msgspec.Struct):
    type: str
    schema: dict[str, object] = {}


class _Text(msgspec.Struct):
    format: _Format | None = None


class _Item(msgspec.Struct):
    role: str = ""
    content: str | list[dict[str, object]] | None = None


class _ToolSpec(msgspec.Struct):
    type: str = "function"
    name: str = ""
    parameters: dict[str, object] | None = None


class _Body(msgspec.Struct):
    model: str
    input: str | list[_Item] = ""
    instructions: str | None = None
    previous_response_id: str | None = None
    stream: bool | None = False
    max_output_tokens: int | None = None
    text: _Text | None = None
    tools: list[_ToolSpec] | None = None
    tool_choice: str | _ToolSpec | None = None
    metadata: dict[str, str] | None = None


_decode = msgspec.json.Decoder(_Body).decode


def read(raw: bytes, *, model: str) -> Call:
    """Read a request to a backend that serves `model`. Raises CallRefused."""
    body = decode_body(_decode, raw, model)
    check_count("max_output_tokens", body.max_output_tokens)
    items = [_Item("user", body.input)] if isinstance(body.input, str) else body.input
    texts = [text_of(item.content) for item in items]
    asked = [text for item, text in zip(items, texts, strict=True) if item.role == "user"]
    form = body.text.format if body.text else None
    schema = None
    if form is not None and form.type in ("json_schema", "json_object"):
        schema = form.schema
    return Call(
        model=body.model,
        prompt=asked[-1] if asked else "",
        prompt_characters=sum(map(len, texts)) + len(body.instructions or ""),
        is_stream=bool(body.stream),
        tokens_max=body.max_output_tokens,
        schema=schema,
        tool=_forced_tool(body),
        faults=faults_of(body.metadata),
        previous=body.previous_response_id,
    )


def response_id(reply: Reply) -> str:
    """A reply's id as this API spells it."""
    return PREFIX + reply.id.removeprefix("chatcmpl-")


def response(
    reply: Reply, call: Call, *, created_s: int, status: str, output: list[Json] | None = None
) -> Json:
    """The whole response as it stands: `in_progress` with no output yet, or done."""
    is_cut = status == "incomplete"
    return {
        "id": response_id(reply),
        "object": "response",
        "created_at": created_s,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "model": call.model,
        "output": output or [],
        "parallel_tool_calls": True,
        "previous_response_id": call.previous,
        "tool_choice": "auto",
        "tools": [],
        "text": {"format": {"type": "text"}},
        "usage": usage(reply) if output else None,
        "metadata": {},
    }


def finished(reply: Reply, call: Call, *, created_s: int) -> Json:
    """The response when all has been said."""
    status = "incomplete" if reply.choices[0].finish_reason == "length" else "completed"
    return response(reply, call, created_s=created_s, status=status, output=[_item(reply, status)])


def usage(reply: Reply) -> Json:
    """Token counts; reasoning is inside output, cached inside input."""
    return {
        "input_tokens": reply.prompt_tokens,
        "input_tokens_details": {"cached_tokens": reply.cached_tokens},
        "output_tokens": reply.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


def whole(reply: Reply, call: Call, *, created_s: int, fingerprint: str) -> bytes:
    """The body of an answer that is not streamed."""
    return encode(finished(reply, call, created_s=created_s))


class Events:
    """Makes the events of one streamed answer."""

    def __init__(self, reply: Reply, call: Call, *, created_s: int, fingerprint: str) -> None:
        self._reply = reply
        self._call = call
        self._created_s = created_s
        self._number = -1
        self._choice = reply.choices[0]
        self.length = len(self._choice.tokens)

    def opening(self) -> Iterator[bytes]:
        """The response and its item, empty so far."""
        begun = response(self._reply, self._call, created_s=self._created_s, status="in_progress")
        yield self._event("response.created", response=begun)
        yield self._event("response.in_progress", response=begun)
        item = _item(self._reply, "in_progress", is_empty=True)
        yield self._event("response.output_item.added", output_index=0, item=item)
        if not self._choice.tool:
            yield self._part("response.content_part.added", part=_part(""))

    def token(self, position: int) -> Iterator[bytes]:
        """The token at `position`."""
        delta = self._choice.tokens[position]
        if self._choice.tool:
            yield self._part("response.function_call_arguments.delta", delta=delta)
        else:
            yield self._part("response.output_text.delta", delta=delta, logprobs=[])

    def closing(self) -> Iterator[bytes]:
        """The same once more in one piece, and the whole response."""
        done = finished(self._reply, self._call, created_s=self._created_s)
        text, status = self._choice.text, str(done["status"])
        if self._choice.tool:
            yield self._part("response.function_call_arguments.done", arguments=text)
        else:
            yield self._part("response.output_text.done", text=text, logprobs=[])
            yield self._part("response.content_part.done", part=_part(text))
        item = _item(self._reply, status)
        yield self._event("response.output_item.done", output_index=0, item=item)
        yield self._event(f"response.{status}", response=done)

    def ending(self) -> Iterator[bytes]:
        """This API says nothing behind its last response."""
        yield from ()

    def _part(self, type: str, **members: object) -> bytes:
        place: Json = {"item_id": _item_id(self._reply), "output_index": 0}
        if not self._choice.tool:
            place["content_index"] = 0
        return self._event(type, **place, **members)

    def _event(self, type: str, **members: object) -> bytes:
        self._number += 1
        body: Json = {"type": type, "sequence_number": self._number}
        return b"event: %b\ndata: %b\n\n" % (type.encode(), encode(body | members))


def error_event(body: bytes) -> bytes:
    """An error body as this API's event: its members stand at the top."""
    error = msgspec.json.decode(body)["error"]
    members = {"type": "error", "sequence_number": 0, "code": error["code"]}
    members |= {"message": error["message"], "param": error["param"]}
    return b"event: error\ndata: %b\n\n" % encode(members)


def _forced_tool(body: _Body) -> Tool | None:
    choice = body.tool_choice
    for tool in body.tools or ():
        is_named = isinstance(choice, _ToolSpec) and choice.name == tool.name
        if is_named or choice == "required":
            return Tool(tool.name, tool.parameters or {}, is_named=is_named)
    return None


def _item(reply: Reply, status: str, *, is_empty: bool = False) -> Json:
    choice = reply.choices[0]
    text = "" if is_empty else choice.text
    if choice.tool:
        return {
            "id": _item_id(reply),
            "type": "function_call",
            "status": status,
            "call_id": f"call_{reply.id[9:33]}",
            "name": choice.tool,
            "arguments": text,
        }
    return {
        "id": _item_id(reply),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [] if is_empty else [_part(text)],
    }


def _item_id(reply: Reply) -> str:
    return f"msg_{reply.id[9:]}"


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


SHAPE = Shape("responses", read, whole, Events, chat.error, error_event)
