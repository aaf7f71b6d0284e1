"""From the answer of a copy to a label: what it says, whether it agrees, what it cost.

Every copy that was sent leaves one row, answered or not, so that whoever reckons with the sample
sees what is missing in it. An answer that was cut, filtered or refused is kept without its text:
it was paid for, and it teaches nothing.
"""

from time import time_ns
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from adapters.answer_reader import AnswerReader
from pointsman.tokens import Usage
from policies.confidence import Answer, judge
from policies.request import RequestError
from policies.values import agree
from policies.words import ConfidenceRule
from telemetry.ids import new_id
from telemetry.record import LabelRecord
from telemetry.rows import input_hash

from .endpoints import Endpoint
from .redacting import redacted_body

if TYPE_CHECKING:
    from .shadow_call import Question

FAULTS: Final = {"length": "truncated", "content_filter": "filtered"}
"""By finish reason; the words data sets leave rows out by."""
REFUSAL: Final = "refusal"
EMPTY: Final = "empty"
UNREAD: Final = "unread"
"""A streamed tool call: its pieces were not kept."""

SPOILT: Final = (*FAULTS.values(), REFUSAL, EMPTY, UNREAD)

_RULE: Final = ConfidenceRule(signals=("checks", "schema"))
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})


class Said(NamedTuple):
    """What one answer says. `message` is an assistant message; None: it could not be read."""

    text: str | None = None
    message: dict[str, object] | None = None
    finish_reason: str | None = None
    has_tool_calls: bool = False
    model: str | None = None

    @property
    def fault(self) -> str | None:
        """Why it teaches nothing, if so."""
        if self.finish_reason in FAULTS:
            return FAULTS[self.finish_reason]
        if self.message is None:
            return UNREAD if self.has_tool_calls else EMPTY
        if self.message.get("refusal"):
            return REFUSAL
        return None if (self.text or "").strip() or self.has_tool_calls else EMPTY


class _Choice(msgspec.Struct):
    message: dict[str, object]
    index: int = 0


class _Body(msgspec.Struct):
    choices: list[_Choice]


_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


def said_by(endpoint: Endpoint, reader: AnswerReader, body: bytes) -> Said:
    """What was answered; `body` is empty where it has gone to the client in pieces."""
    message = _message_in(body) if endpoint.api == "chat" else None
    if message is None and reader.text is not None and not reader.has_tool_calls:
        message = {"role": "assistant", "content": reader.text}
    return Said(reader.text, message, reader.finish_reason, reader.has_tool_calls, reader.model)


def _message_in(body: bytes) -> dict[str, object] | None:
    """Of a whole chat answer the first choice's message, null and empty members left out."""
    try:
        choices = _decode(body).choices
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    first = next((choice for choice in choices if choice.index == 0), None)
    if first is None:
        return None
    kept = {key: value for key, value in first.message.items() if value not in _EMPTY}
    return {**kept, "role": "assistant"}


def label_of(
    question: "Question",
    said: Said | None,
    *,
    failure: str | None = None,
    cost_usd: float | None,
    usage: Usage = Usage(),  # noqa: B008 (frozen)
    took_us: int | None = None,
) -> LabelRecord:
    """The label of a question; `said` None where there is no answer, for the reason `failure`."""
    order, body = question.order, question.body
    output = None if said is None else _encode(said.message)
    if question.route.redact:  # as the record's: it is found by the hash of what is kept
        body = redacted_body(body) or b""
        output = None if output is None else redacted_body(output)
    fault = failure if said is None else said.fault
    is_told = said is not None and fault is None
    keeps_text = is_told and question.capture == "full"
    return LabelRecord(
        id=new_id(),
        request_id=question.request_id,
        input_hash=input_hash(body) or b"",
        source=order.source,
        ts_us=time_ns() // 1000,
        model=None if said is None else said.model,
        output=output if keeps_text else None,
        score=score_of(question, said) if said is not None and is_told else None,
        verdict=fault,
        cost_usd=cost_usd,
        probability=order.share,
        route=question.route.name,
        backend=order.backend,
        total_us=took_us,
        usage=usage,
        agrees=agreement(question.served, said) if said is not None and is_told else None,
    )


def agreement(one: Said, other: Said) -> bool | None:
    """Whether two answers have the same value; None where that cannot be said."""
    if one.has_tool_calls or other.has_tool_calls:
        return None
    return agree(one.text or "", other.text or "")


def score_of(question: "Question", said: Said) -> float | None:
    """1 where all the route's checks and the client's schema are met, 0 where one is not; None
    where there are none."""
    endpoint, route = question.endpoint, question.route
    looks_in_prompt = any(check.in_prompt for check in route.checks)
    try:
        request = endpoint.parse(question.body)
    except RequestError:
        return None
    return judge(
        replace(route, confidence=_RULE),
        Answer(said.text, said.finish_reason, has_tool_calls=said.has_tool_calls),
        prompt_text=endpoint.prompt_text(request) if looks_in_prompt else "",
        response_schema=endpoint.response_schema(request),
    ).value
