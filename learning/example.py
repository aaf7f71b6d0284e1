"""One training example, and how a capture becomes one or is left out by a code. Pure.

The target is the answer taken as right (a label), else the answer the client received; an answer
a label contradicts is kept as `rejected`. A capture that failed becomes an example all the same
where a label says what would have been right.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

import msgspec
from crc32c import crc32c

from policies.schema_check import SchemaCheck

from .answer_match import answer_text, canonical
from .assemble import Assembled, assemble
from .captured import Captured
from .chat_row import (
    FILTERED,
    REFUSAL,
    ROLES_INVALID,
    TARGET_KEYS,
    TOOL_INVALID,
    TRUNCATED,
    UNREADABLE,
    Excluded,
    check_calls,
    check_roles,
    context_messages,
)
from .label_store import Verdict

Json = dict[str, object]
Split = Literal["train", "valid", "test", "holdout"]

DAMAGED: Final = "damaged"

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "failed": "the answer was an error",
        "cut_stream": "the backend broke off",
        "client_gone": "the client left before the end",
        "not_captured": "bodies were not kept (capture: metadata or off)",
        "not_chat": "not a chat completion",
        "choice_unused": "further choices of one answer (choices, not rows)",
        TRUNCATED: "the answer ended at its token limit",
        FILTERED: "a content filter ended the answer",
        REFUSAL: "the model refused",
        TOOL_INVALID: "a tool call that does not fit",
        "schema_invalid": "the answer does not fit the schema it was asked for",
        ROLES_INVALID: "messages in an order no trainer takes",
        UNREADABLE: "the bodies could not be read",
        DAMAGED: "the file holds other bytes than were written; see pointsman verify",
        "stale_config": "nobody has labelled it, and its route has another policy now",
        "unlabelled": "nobody has said what is right",
        "label_disputed": "the teacher's samples disagree, or a check failed",
        "low_confidence": "the answer was not trusted",
        "negative_feedback": "somebody said that the answer was wrong",
        "duplicate": "asked before, word for word",
        "near_duplicate": "asked before, nearly, and answered the same",
        "conversation_prefix": "an earlier turn of a conversation that is in",
        "image_remote": "an image by its address; --fetch-images fetches it",
        "image_unreachable": "an image that could not be fetched",
        "over_length": "longer than the student takes",
        "was_train": "trained on in an earlier version, now beside a test row",
        "pii_blocked": "too much personal data to mask",
        "tombstoned": "to be forgotten",
    }
)
"""Every code, and what it means to people."""

ALLOWED: Final = frozenset(
    (
        TRUNCATED, FILTERED, REFUSAL, TOOL_INVALID, "schema_invalid", "cut_stream", "client_gone",
        "label_disputed", "low_confidence", "stale_config", "negative_feedback", "duplicate",
        "near_duplicate", "conversation_prefix",
    )
)  # fmt: skip
"""Codes that a build may be told to let in."""

_STATUS_CODES: Final = MappingProxyType(
    {"error": "failed", "refused": "failed", "upstream_cut": "cut_stream",
     "client_gone": "client_gone"}
)  # fmt: skip

SCHEMAS_KEPT: Final = 256  # an app asks with a few

_decode = msgspec.json.Decoder(Json).decode
encode_canonical = msgspec.json.Encoder(order="deterministic").encode


class Example(msgspec.Struct, omit_defaults=True):
    """One row of a data set, as its snapshot keeps it."""

    id: str
    """sha256 over what is asked and answered."""
    request_id: str
    messages: list[Json]
    """What is asked; the assistant's earlier turns among it."""
    target: Json
    conversation_id: str = ""
    group_key: str = ""
    split: Split = "train"
    tools: list[Json] = []
    response_format: Json = {}
    parallel_tool_calls: bool | None = None
    rejected: Json = {}
    reasoning: str = ""
    """What the model thought; not part of the target."""
    label_source: str = "traffic"
    label_model: str = ""
    label_id: str = ""
    weight: float = 1.0
    tokens: int = 0
    meta: Json = {}


class Rules(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is let in."""

    allow: tuple[str, ...] = ()
    labels: Literal["prefer", "require", "ignore"] = "prefer"
    agreement_min: float = 0.67
    confidence_min: float = 0.0


def example_of(
    row: Captured,
    rules: Rules,
    verdict: Verdict | None,
    *,
    is_disliked: bool = False,
    is_stale: bool = False,
) -> tuple[Example, int]:
    """The example, and how many further choices the answer had. Raises Excluded.

    `is_disliked`: somebody said that the answer was wrong; `is_stale`: it was given under a policy
    that its route has no more. Neither counts where a label says what is right.
    """
    verdict = None if rules.labels == "ignore" else verdict
    request = _request(row)
    answer = _answer(row, rules, verdict)
    if verdict is None:
        _check_trust(row, rules, is_disliked=is_disliked, is_stale=is_stale)
    else:
        _exclude("label_disputed", verdict.agreement < rules.agreement_min, rules)
    message = _target(answer, verdict)
    example = Example(
        id="",
        request_id=row.id,
        messages=context_messages(request),
        target={key: message[key] for key in TARGET_KEYS if key in message},
        conversation_id=row.conversation or "",
        label_source=verdict.source if verdict else "traffic",
        label_model=(verdict.model if verdict else row.model) or "",
        label_id=(verdict.label_id if verdict else None) or "",
        meta=_meta(row, verdict),
    )
    _add_options(example, request)
    if answer is not None:
        _add_captured(example, answer, verdict)
    _check(example, rules)
    return example, answer.choices - 1 if answer is not None else 0


def example_id(example: Example) -> str:
    """sha256 over what is asked and answered; ids, times and texts of others do not count."""
    return Written(example).id


class Written:
    """An example's canonical JSON, in the parts that hashes are made of."""

    __slots__ = ("asked", "id", "messages", "target")

    def __init__(self, example: Example) -> None:
        self.messages = list(map(encode_canonical, example.messages))
        self.target = encode_canonical(example.target)
        self.asked = b"[%b],%b,%b" % (
            b",".join(self.messages),
            encode_canonical(example.tools) if example.tools else b"[]",
            encode_canonical(example.response_format) if example.response_format else b"{}",
        )
        self.id = hashlib.sha256(b"[%b,%b]" % (self.asked, self.target)).hexdigest()


def _request(row: Captured) -> Json:
    if row.api != "chat":
        raise Excluded("not_chat")
    if row.request is None:
        raise Excluded("not_captured")
    _check_bytes(row.request, row.request_crc32c)
    try:
        return _decode(row.request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Excluded(UNREADABLE) from None


def _answer(row: Captured, rules: Rules, verdict: Verdict | None) -> Assembled | None:
    """What the client received, where it is whole; None where a label stands in for it."""
    try:
        return _received(row, rules)
    except Excluded:
        if verdict is None:
            raise
        return None


def _received(row: Captured, rules: Rules) -> Assembled:
    code = _STATUS_CODES.get(row.status)
    if code is not None and code not in rules.allow:
        raise Excluded(code)
    if row.http_status is not None and row.http_status >= 400:
        raise Excluded("failed")
    _exclude("cut_stream", not row.complete and code is None, rules)
    if row.response is None:
        raise Excluded("not_captured")
    _check_bytes(row.response, row.response_crc32c)
    answer = assemble(row.response)
    if answer is None:
        raise Excluded(UNREADABLE)
    _exclude("cut_stream", not answer.is_whole, rules)
    _exclude(TRUNCATED, answer.finish_reason == "length", rules)
    _exclude(FILTERED, answer.finish_reason == "content_filter", rules)
    _exclude(REFUSAL, bool(answer.message.get("refusal")), rules)
    if "function_call" in answer.message:
        raise Excluded(TOOL_INVALID)
    if answer.message.get("content") == "" and "refusal" not in answer.message:
        raise Excluded(UNREADABLE)
    return answer


def _check_bytes(body: bytes, written: int | None) -> None:
    if written is not None and crc32c(body) != written:
        raise Excluded(DAMAGED)


def _check_trust(row: Captured, rules: Rules, *, is_disliked: bool, is_stale: bool) -> None:
    if rules.labels == "require":
        raise Excluded("unlabelled")
    _exclude("stale_config", is_stale, rules)
    _exclude("negative_feedback", is_disliked, rules)
    is_unsure = row.confidence is not None and row.confidence < rules.confidence_min
    _exclude("low_confidence", is_unsure, rules)


def _target(answer: Assembled | None, verdict: Verdict | None) -> Json:
    if verdict is not None:
        return verdict.message
    assert answer is not None
    message = dict(answer.message)
    if "content" not in message and isinstance(message.get("refusal"), str):
        message["content"] = message["refusal"]
    return message


def _meta(row: Captured, verdict: Verdict | None) -> Json:
    """Where it comes from. No empty member: its type would be a reader's guess."""
    facts: Json = {
        "ts_us": row.ts_us,
        "route": row.route,
        "backend": row.backend,
        "task": row.task,
        "policy": row.policy,
        "source": row.source,
        "agreement": verdict.agreement if verdict else None,
        "samples": verdict.samples if verdict else None,
    }
    return {key: value for key, value in facts.items() if value is not None}


def _add_options(example: Example, request: Json) -> None:
    tools = request.get("tools")
    if isinstance(tools, list) and tools:
        example.tools = [tool for tool in tools if isinstance(tool, dict)]
        parallel = request.get("parallel_tool_calls")
        example.parallel_tool_calls = parallel if isinstance(parallel, bool) else None
    wanted = request.get("response_format")
    if isinstance(wanted, dict):
        example.response_format = wanted


def _add_captured(example: Example, answer: Assembled, verdict: Verdict | None) -> None:
    """The thought apart from the answer, and the answer that a label contradicts."""
    for key in ("reasoning_content", "reasoning"):
        thought = answer.message.get(key)
        if isinstance(thought, str):
            example.reasoning = thought
    if verdict is None:
        return
    said = canonical(answer_text(answer.message))
    if said != canonical(verdict.text):
        kept: Json = {key: answer.message[key] for key in TARGET_KEYS if key in answer.message}
        example.rejected = kept


def _check(example: Example, rules: Rules) -> None:
    """What would teach something wrong, or no trainer takes."""
    whole = [*example.messages, example.target]
    check_roles(whole)
    try:
        check_calls(whole)
    except Excluded as excluded:
        if excluded.code not in rules.allow:
            raise
    schema = _schema(example.response_format)
    if schema is not None and "tool_calls" not in example.target:
        _exclude("schema_invalid", not _fits(schema, answer_text(example.target)), rules)


def _schema(response_format: Json) -> SchemaCheck | None:
    wrapper = response_format.get("json_schema")
    schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
    if not isinstance(schema, dict):
        return None
    return _compiled(encode_canonical(schema))


@lru_cache(maxsize=SCHEMAS_KEPT)
def _compiled(schema: bytes) -> SchemaCheck | None:
    try:
        return SchemaCheck(msgspec.json.decode(schema))
    except ValueError:
        return None


def _fits(schema: SchemaCheck, text: str) -> bool:
    try:
        return schema.fits(msgspec.json.decode(text.encode("utf-8", "surrogatepass")))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _exclude(code: str, is_so: bool, rules: Rules) -> None:
    if is_so and code not in rules.allow:
        raise Excluded(code)
