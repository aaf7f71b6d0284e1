"""The files that trainers read (evaluators': evaluation_formats): a small pure function a format.

Each makes one row of an Example, or raises Excluded where the format cannot hold it. Rules for
all: no null and no empty optional member; context is never trained on; tool arguments are JSON
text where a format's own reader wants text, and objects where it wants objects.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from .answer_match import answer_text
from .chat_row import ROLES_INVALID, Excluded, fine_tuning_row
from .evaluation_formats import IMAGES, PROMPTFOO_HEAD, called, inspect, promptfoo, yaml_item
from .example import Example, Json

NO_REJECTED: Final = "no_rejected"
TEXT_BESIDE_CALL: Final = "text_beside_call"
BATCH_MODEL: Final = "teacher"

REASONING: Final = ("drop", "think", "field")

Make = Callable[[Example], Json | list[Json]]
Sidecar = Callable[[str, str, frozenset[str]], bytes]
"""Of the file's name, the data set's, and the members that rows have: what lies beside the rows."""


class Format(msgspec.Struct, frozen=True):
    """One format."""

    make: Make
    """A row, or several, of an example."""
    encode: Callable[[Json], bytes] = msgspec.json.encode
    head: bytes = b""
    """The file's first line."""
    rows_min: int = 1
    rows_max: int | None = None
    sidecar: tuple[str, Sidecar] | None = None
    """Suffix and content of what the reader wants beside the rows."""
    leads: bool = False
    """Its reader takes the columns from the first megabytes: rows that show all members come
    first."""


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
        "custom_id": example.request_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
    }


def trl_prompt_completion(example: Example) -> Json:
    """TRL's SFTTrainer: the loss falls on the completion alone."""
    example = _as_text(example)
    row: Json = {
        "prompt": [_with_objects(message) for message in example.messages],
        "completion": [_with_objects(example.target)],
    }
    return row | ({"tools": example.tools} if example.tools else {})


def trl_kto(example: Example) -> list[Json]:
    """TRL's KTOTrainer: what is right, and apart from it what a label contradicts."""
    example = _as_text(example)
    said = [(example.target, True)]
    if example.rejected and example.rejected != example.target:
        said.append((example.rejected, False))
    prompt = [_with_objects(message) for message in example.messages]
    tools: Json = {"tools": example.tools} if example.tools else {}
    return [
        {"prompt": prompt, "completion": [_with_objects(message)], "label": label, **tools}
        for message, label in said
    ]


def trl_dpo(example: Example) -> Json:
    """TRL's DPOTrainer."""
    example = _as_text(example)
    preferred, other = _pair(example)
    row: Json = {
        "prompt": [_with_objects(message) for message in example.messages],
        "chosen": [_with_objects(preferred)],
        "rejected": [_with_objects(other)],
    }
    return row | ({"tools": example.tools} if example.tools else {})


def axolotl(example: Example) -> Json:
    """Axolotl's chat_template type: `train` says which turns are trained on.

    Its reader takes tools as JSON text too, and text has one type whatever a tool looks like.
    """
    example = _as_text(example)
    messages: list[Json] = [
        {**message, "train": False} if message["role"] == "assistant" else message
        for message in example.messages
    ]
    row: Json = {"messages": [*messages, {**example.target, "train": True}]}
    return row | ({"tools": msgspec.json.encode(example.tools).decode()} if example.tools else {})


def llamafactory(example: Example) -> Json:
    """LLaMA-Factory's sharegpt: what is read at odd places, what is said at even ones."""
    example = _as_text(example)
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
    return openai_chat(_as_text(example))


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


def _axolotl_sidecar(file: str, name: str, members: frozenset[str]) -> bytes:
    return AXOLOTL.format(file=msgspec.json.encode(file).decode()).encode()


def _llamafactory_sidecar(file: str, name: str, members: frozenset[str]) -> bytes:
    """`dataset_info.json`; it may name no column that no row has."""
    columns = {"messages": "conversations"}
    columns |= {column: column for column in ("system", "tools") if column in members}
    info = {name: {"file_name": file, "formatting": "sharegpt", "columns": columns}}
    return msgspec.json.format(msgspec.json.encode(info), indent=2) + b"\n"


def _features(file: str, name: str, members: frozenset[str]) -> bytes:
    """The columns for `datasets.Features.from_dict`: whatever a row holds, JSON is its type.

    Guessed from the first megabytes, a tool or an argument that comes later is lost or an error.
    """
    kinds: dict[str, Json] = {"label": {"dtype": "bool", "_type": "Value"}}
    anything: Json = {"feature": {"_type": "Json"}, "_type": "List"}
    told = {member: kinds.get(member, anything) for member in sorted(members)}
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


FEATURES: Final = (".features.json", _features)

FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "openai-chat": Format(openai_chat, rows_min=10),
        "openai-dpo": Format(openai_dpo, rows_min=10),
        "openai-batch": Format(openai_batch),
        "trl-prompt-completion": Format(trl_prompt_completion, sidecar=FEATURES, leads=True),
        "trl-dpo": Format(trl_dpo, sidecar=FEATURES, leads=True),
        "trl-kto": Format(trl_kto, sidecar=FEATURES, leads=True),
        "axolotl": Format(axolotl, sidecar=(".yaml", _axolotl_sidecar), leads=True),
        "llamafactory": Format(
            llamafactory, sidecar=(".dataset_info.json", _llamafactory_sidecar), leads=True
        ),
        "together": Format(together),
        "fireworks": Format(fireworks, rows_min=3, rows_max=3_000_000),
        "inspect": Format(inspect),
        "promptfoo": Format(promptfoo, encode=yaml_item, head=PROMPTFOO_HEAD),
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


def _as_text(example: Example) -> Example:
    """Contents in parts as one text. Raises Excluded where one is an image or the like.

    A trainer on text takes no images, and a column that is text here and parts there is no column.
    """
    if all(isinstance(m.get("content", ""), str) for m in (*example.messages, example.target)):
        return example
    return msgspec.structs.replace(
        example,
        messages=[_with_text(message) for message in example.messages],
        target=_with_text(example.target),
    )


def _with_text(message: Json) -> Json:
    content = message.get("content", "")
    if isinstance(content, str):
        return message
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if any(not isinstance(text, str) for text in texts):
        raise Excluded(IMAGES)
    return {**message, "content": "\n".join(map(str, texts))}


def _with_objects(message: Json) -> Json:
    """Tool arguments as objects; the rest as it is."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_call_with_object(call) for call in calls]}


def _call_with_object(call: Json) -> Json:
    name, arguments = called(call)
    return {**call, "function": {"name": name, "arguments": arguments}}


def _llamafactory_turn(message: Json) -> Json:
    role = message["role"]
    calls = message.get("tool_calls")
    if role == "assistant" and isinstance(calls, list) and calls:
        if message.get("content"):
            raise Excluded(TEXT_BESIDE_CALL)
        functions = [_call_with_object(call)["function"] for call in calls]
        said = functions[0] if len(functions) == 1 else functions
        return {"from": "function_call", "value": msgspec.json.encode(said).decode()}
    names = {"user": "human", "assistant": "gpt", "tool": "observation"}
    if role not in names:
        raise Excluded(ROLES_INVALID)
    return {"from": names[str(role)], "value": message.get("content", "")}


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
