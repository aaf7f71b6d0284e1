"""What a teacher is asked, and what is made of its answer. Pure.

A sample is named by everything its answer depends on (`cache_key`), so what was asked once is
never paid for again. An answer is scored by what can be checked without knowing the right one:
the route's plausibility checks and the schema the client asked for.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from policies.confidence import Answer, judge
from policies.features import parse_chat, prompt_text, response_schema
from policies.request import RequestError
from policies.words import ConfidenceRule, Route

from .answer_match import answer_text
from .question import Json, Question, messages_of

HARD_CONFIDENCE: Final = 0.5
"""Captures less sure than this get all samples, whatever the share."""
TRUNCATED: Final = "truncated"
FILTERED: Final = "filtered"
REFUSAL: Final = "refusal"
_FINISHES: Final = {"length": TRUNCATED, "content_filter": FILTERED}
_RULE: Final = ConfidenceRule(signals=("checks", "schema"))

_encode = msgspec.json.Encoder(order="deterministic").encode


class Task(msgspec.Struct, frozen=True):
    """How the teacher is asked."""

    model: str
    samples: int = 1
    samples_share: float = 1.0
    """Share of the questions that get all samples; the others get one."""
    instruction: str | None = None
    """A system message in place of the client's."""
    max_completion_tokens: int = 1024

    @property
    def prompt_hash(self) -> str:
        """Names the instruction."""
        return hashlib.sha256((self.instruction or "").encode()).hexdigest()[:16]


class Sample(msgspec.Struct, frozen=True):
    """One call to be made. `body` has no model."""

    question: Question
    number: int
    cache_key: str
    body: Json


def samples_of(questions: Sequence[Question], task: Task) -> Iterator[Sample]:
    """Every call the task asks for, question by question."""
    for question in questions:
        body = teacher_body(question.body, task)
        for number in range(_how_many(question, task)):
            yield Sample(question, number, cache_key(question, task, body, number), body)


def teacher_body(body: Json, task: Task) -> Json:
    """The question as the teacher gets it: with our limit and, if one is given, our instruction."""
    limited = {key: value for key, value in body.items() if key != "max_tokens"}
    limited["max_completion_tokens"] = task.max_completion_tokens
    if task.instruction is not None:
        kept = [m for m in messages_of(body) if m.get("role") not in ("system", "developer")]
        limited["messages"] = [{"role": "system", "content": task.instruction}, *kept]
    return limited


def cache_key(question: Question, task: Task, body: Json, number: int) -> str:
    """sha256 of question, model, instruction, parameters and sample number."""
    parameters = {key: value for key, value in body.items() if key not in ("messages", "tools")}
    asked = (question.input_hash or question.id.encode()).hex()
    named = (asked, task.model, task.prompt_hash, parameters, number)
    return hashlib.sha256(_encode(named)).hexdigest()


def spoilt(message: Json, finish_reason: str | None) -> str | None:
    """Why an answer teaches nothing, or None."""
    if finish_reason in _FINISHES:
        return _FINISHES[finish_reason]
    if message.get("refusal"):
        return REFUSAL
    return None if answer_text(message).strip() else "empty"


def score(message: Json, question: Question, routes: Mapping[str, Route]) -> float | None:
    """1 where every check and the schema are met, 0 where one is not, None where there is none."""
    route = routes.get(question.route or "") or Route(name="", candidates=())
    checked = msgspec.structs.replace(route, confidence=_RULE)
    answer = Answer(answer_text(message), has_tool_calls=bool(message.get("tool_calls")))
    try:
        request = parse_chat(_encode({"model": "teacher", **question.body}))
        prompt, schema = prompt_text(request), response_schema(request)
    except RequestError:
        return None
    return judge(checked, answer, prompt_text=prompt, response_schema=schema).value


def _how_many(question: Question, task: Task) -> int:
    if task.samples == 1:
        return 1
    is_hard = question.confidence is not None and question.confidence < HARD_CONFIDENCE
    digest = hashlib.sha256(b"samples|" + (question.input_hash or question.id.encode())).digest()
    lot = int.from_bytes(digest[:8], "big") / 2**64
    return task.samples if is_hard or lot < task.samples_share else 1
