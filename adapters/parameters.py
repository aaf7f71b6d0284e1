"""Parameters that one model takes and another refuses, by the names in the configuration.

Applied only to a request that the policy moved to a model its client did not name: a client that
asks for a reasoning model itself knows what it takes, and is told by the backend where it errs.
What a client did not ask to pay for (`refuse`) is checked for every request.
"""

from dataclasses import dataclass

import msgspec
from msgspec import UNSET, Raw, UnsetType

from pointsman.decoding import Section, text
from pointsman.document import MapNode, Node

from . import splice


@dataclass(frozen=True, slots=True)
class Parameters:
    """Top-level members of a request's body."""

    rename: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()


NO_RULES = Parameters()
REASONING = Parameters(
    rename=(("max_tokens", "max_completion_tokens"),),
    drop=(
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "parallel_tool_calls",
    ),
)
"""What OpenAI's reasoning models answer 400 `unsupported_parameter` to."""


def adapted(body: bytes, parameters: Parameters) -> tuple[bytes, tuple[str, ...]]:
    """`body` as the model takes it, and the members that were changed.

    A member that stands there under its new name already wins over the old one.
    """
    changed: list[str] = []
    for old, new in parameters.rename:
        if splice.is_absent(body, old):
            continue
        spans = splice.walk(body)
        if old in spans:
            changed.append(old)
            body = _without(body, old) if new in spans else _renamed(body, spans[old], new)
    for name in parameters.drop:
        if not splice.is_absent(body, name) and name in splice.walk(body):
            changed.append(name)
            body = _without(body, name)
    return body, tuple(changed)


class Costly(msgspec.Struct):
    """Members that vLLM and llama.cpp know and OpenAI does not: they ask for work per token, a
    place in the queue, a slot, a template or a grammar of the client's own.

    Found by decoding into this type: one pass over the body, where a search for each name took
    30 times as long.
    """

    prompt_logprobs: Raw | UnsetType = UNSET
    chat_template: Raw | UnsetType = UNSET
    structured_outputs: Raw | UnsetType = UNSET
    guided_json: Raw | UnsetType = UNSET
    guided_regex: Raw | UnsetType = UNSET
    guided_choice: Raw | UnsetType = UNSET
    guided_grammar: Raw | UnsetType = UNSET
    priority: Raw | UnsetType = UNSET
    ignore_eos: Raw | UnsetType = UNSET
    use_beam_search: Raw | UnsetType = UNSET
    logits_processors: Raw | UnsetType = UNSET
    mm_processor_kwargs: Raw | UnsetType = UNSET
    kv_transfer_params: Raw | UnsetType = UNSET
    vllm_xargs: Raw | UnsetType = UNSET
    grammar: Raw | UnsetType = UNSET
    lora: Raw | UnsetType = UNSET
    id_slot: Raw | UnsetType = UNSET
    n_probs: Raw | UnsetType = UNSET


COSTLY = Costly.__struct_fields__
NOTHING_COSTLY = Costly()
decode_costly = msgspec.json.Decoder(Costly).decode


def decode_parameters(
    section: Section, *, default: Parameters = NO_RULES, refusable: tuple[str, ...] = ()
) -> Parameters:
    """`parameters: {rename: {OLD: NEW}, drop: [NAME], allow: [NAME]}` of a backend.

    `rename` and `drop` replace the default's; `allow` takes names out of `refusable`.
    """
    inner = section.subsection("parameters")
    if inner is None:
        return Parameters(default.rename, default.drop, refusable)
    drop = inner.each("drop", text) if "drop" in inner else default.drop
    rename = inner.read("rename", _renames, default.rename)
    allowed = inner.each("allow", text)
    inner.done()
    return Parameters(rename, drop, tuple(name for name in refusable if name not in allowed))


def _renames(node: Node) -> tuple[tuple[str, str], ...]:
    if not isinstance(node, MapNode):
        raise ValueError("expected {OLD: NEW}")
    return tuple((old, text(new)) for old, new in node.items.items())


def _without(body: bytes, name: str) -> bytes:
    edit = splice.remove_member(body, name)
    return body if edit is None else splice.apply_one(body, edit)


def _renamed(body: bytes, span: tuple[int, int, int], new: str) -> bytes:
    key_start, value_start, _ = span
    key_end = body.rindex(b'"', key_start, value_start) + 1
    return splice.apply_one(body, (key_start, key_end, splice.json_text(new)))
