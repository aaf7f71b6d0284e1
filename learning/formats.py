"""The files that trainers and evaluators read: one small pure function a format.

Each makes one row of an Example, or raises Excluded where the format cannot hold it. Rules for
all: no null and no empty optional member; context is never trained on; tool arguments are JSON
text where a format's own reader wants text, and objects where it wants objects.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from .answer_match import answer_text
from .chat_row import ROLES_INVALID, TOOL_INVALID, Excluded, fine_tuning_row
from .example import Example, Json

NO_REJECTED: Final = "no_rejected"
IMAGES: Final = "images"
BATCH_MODEL: Final = "teacher"

REASONING: Final = ("drop", "think", "field")

Make = Callable[[Example], Json]


class Format(msgspec.Struct, frozen=True):
    """One format. `sidecar` is what its reader wants beside the rows: file suffix and content."""

    make: Make
    rows_min: int = 1
    rows_max: int | None = None
    sidecar: tuple[str, str] | None = None


def with_reasoning(example: Example, how: str) -> Example:
    """The target with what the model thought: `drop`, before it in <think>, or in its own field."""
    if how == "drop" or not example.reasoning:
        return example
    target = dict(example.target)
    if how == "field":
        target["reasoning_content"] = example.reasoning
    else:
        said = target.get("content")
        target["content"] = f"<think>\n{example.reasoning}\n</think>\n\n{said or ''}"
    return msgspec.structs.replace(example, target=target)


def openai_chat(example: Example) -> Json:
    """OpenAI's fine-tuning file: weights 0 and 1 on the assistant's turns."""
    return fine_tuning_row(example.messages, example.target, _tool_options(example))


def openai_dpo(example: Example) -> Json:
    """OpenAI's preference file; the right answer before the one it contradicts."""
    asked: Json = {"messages": example.messages, **_tool_options(example)}
    preferred, other = _pair(example)
    return {"input": asked, "preferred_output": [preferred], "non_preferred_output": [other]}


def openai_batch(example: Example) -> Json:
    """One request of OpenAI's batch file; the model's name is the submitter's to set."""
    body: Json = {"model": BATCH_MODEL, "messages": example.messages, **_tool_options(example)}
    if example.response_format:
        body["response_format"] = example.response_format
    return {
        "custom_id": example.id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
    }


def trl_prompt_completion(example: Example) -> Json:
    """TRL's SFTTrainer: the loss falls on the completion alone."""
    row: Json = {
        "prompt": [_with_objects(message) for message in example.messages],
        "completion": [_with_objects(example.target)],
    }
    return row | ({"tools": example.tools} if example.tools else {})


def trl_dpo(example: Example) -> Json:
    """TRL's DPOTrainer."""
    preferred, other = _pair(example)
    row: Json = {
        "prompt": [_with_objects(message) for message in example.messages],
        "chosen": [_with_objects(preferred)],
        "rejected": [_with_objects(other)],
    }
    return row | ({"tools": example.tools} if example.tools else {})


def axolotl(example: Example) -> Json:
    """Axolotl's chat_template type: `train` says which turns are trained on."""
    messages: list[Json] = [
        {**message, "train": False} if message["role"] == "assistant" else message
        for message in example.messages
    ]
    row: Json = {"messages": [*messages, {**example.target, "train": True}]}
    return row | ({"tools": example.tools} if example.tools else {})


def llamafactory(example: Example) -> Json:
    """LLaMA-Factory's sharegpt: what is read at odd places, what is said at even ones."""
    messages = list(example.messages)
    row: Json = {}
    if messages and messages[0]["role"] in ("system", "developer"):
        row["system"] = answer_text(messages.pop(0))
    turns = [_llamafactory_turn(message) for message in (*messages, example.target)]
    _check_alternation(turns)
    row["conversations"] = turns
    if example.tools:
        functions = [tool.get("function", tool) for tool in example.tools]
        row["tools"] = msgspec.json.encode(functions).decode()
    return row


def together(example: Example) -> Json:
    """Together's chat file: turns in strict order, images only as data and only from the user."""
    kinds = {type(message.get("content")) for message in example.messages if "content" in message}
    has_images = list in kinds
    if has_images:
        if str in kinds or any(not _is_data(m) for m in example.messages):
            raise Excluded(IMAGES)
        return {"messages": [*example.messages, example.target]}
    _check_order(example.messages)
    return openai_chat(example)


def fireworks(example: Example) -> Json:
    """Fireworks' chat file: text only."""
    if any(not isinstance(message.get("content", ""), str) for message in example.messages):
        raise Excluded(IMAGES)
    return openai_chat(example)


def inspect(example: Example) -> Json:
    """Inspect's samples: what is asked, and the answer it is held against."""
    metadata = {
        "request_id": example.request_id,
        "split": example.split,
        "group_key": example.group_key,
        "label_source": example.label_source,
    }
    return {
        "input": [_with_objects(message) for message in example.messages],
        "target": answer_text(example.target),
        "id": example.id,
        "metadata": {key: value for key, value in metadata.items() if value},
    }


AXOLOTL: Final = """\
datasets:
  - path: {file}
    ds_type: json
    type: chat_template
    field_messages: messages
    roles_to_train: [assistant]
    train_on_eos: turn
    message_field_training: train
    field_tools: tools
excess_length_strategy: drop
"""

LLAMAFACTORY: Final = """\
{{
  "{name}": {{
    "file_name": "{file}",
    "formatting": "sharegpt",
    "columns": {{"messages": "conversations", "system": "system", "tools": "tools"}}
  }}
}}
"""

FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "openai-chat": Format(openai_chat, rows_min=10),
        "openai-dpo": Format(openai_dpo, rows_min=10),
        "openai-batch": Format(openai_batch),
        "trl-prompt-completion": Format(trl_prompt_completion),
        "trl-dpo": Format(trl_dpo),
        "axolotl": Format(axolotl, sidecar=(".yaml", AXOLOTL)),
        "llamafactory": Format(llamafactory, sidecar=(".dataset_info.json", LLAMAFACTORY)),
        "together": Format(together),
        "fireworks": Format(fireworks, rows_min=3, rows_max=3_000_000),
        "inspect": Format(inspect),
    }
)


def _tool_options(example: Example) -> Json:
    options: Json = {}
    if example.tools:
        options["tools"] = example.tools
        if example.parallel_tool_calls is not None:
            options["parallel_tool_calls"] = example.parallel_tool_calls
    return options


def _pair(example: Example) -> tuple[Json, Json]:
    if not example.rejected or example.rejected == example.target:
        raise Excluded(NO_REJECTED)
    return example.target, example.rejected


def _with_objects(message: Json) -> Json:
    """Tool arguments as objects; the rest as it is."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_call_with_object(call) for call in calls]}


def _call_with_object(call: Json) -> Json:
    function = call["function"]
    assert isinstance(function, dict)
    try:
        arguments = msgspec.json.decode(str(function.get("arguments")))
    except msgspec.DecodeError:
        raise Excluded(TOOL_INVALID) from None
    return {**call, "function": {**function, "arguments": arguments}}


def _llamafactory_turn(message: Json) -> Json:
    role = message["role"]
    calls = message.get("tool_calls")
    if role == "assistant" and isinstance(calls, list) and calls:
        functions = [_call_with_object(call)["function"] for call in calls]
        said = functions[0] if len(functions) == 1 else functions
        return {"from": "function_call", "value": msgspec.json.encode(said).decode()}
    if not isinstance(message.get("content"), str):
        raise Excluded(IMAGES)
    names = {"user": "human", "assistant": "gpt", "tool": "observation"}
    if role not in names:
        raise Excluded(ROLES_INVALID)
    return {"from": names[str(role)], "value": message["content"]}


def _check_alternation(turns: Sequence[Json]) -> None:
    """What is read stands at odd places (counted from 1), what is said at even ones."""
    for place, turn in enumerate(turns):
        is_read = turn["from"] in ("human", "observation")
        if is_read != (place % 2 == 0):
            raise Excluded(ROLES_INVALID)
    if len(turns) % 2:
        raise Excluded(ROLES_INVALID)


def _check_order(messages: Sequence[Json]) -> None:
    """A system message first or nowhere; then the user begins."""
    roles = [message["role"] for message in messages]
    if roles and roles[0] in ("system", "developer"):
        roles = roles[1:]
    if not roles or roles[0] != "user" or "system" in roles or "developer" in roles:
        raise Excluded(ROLES_INVALID)


def _is_data(message: Json) -> bool:
    """No image, or only images that are data of the user's own."""
    content = message.get("content")
    if not isinstance(content, list):
        return True
    for part in content:
        image = part.get("image_url") if isinstance(part, dict) else None
        url = image.get("url") if isinstance(image, dict) else image
        if image is None:
            continue
        kinds = ("data:image/jpeg", "data:image/png", "data:image/webp")
        if message["role"] != "user" or not str(url).startswith(kinds):
            return False
    return True
