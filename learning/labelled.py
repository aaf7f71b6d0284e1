"""Captures with what their labels say of every backend that answered: what is fitted and proved on.

A label says which answer is right. Every whole answer of a capture is held against it, also one
that was escalated and reached nobody. Labels of requests are split once for all, by what was
asked: half of them are fitted on, the others prove (`pointsman calibrate`), so that no model is
proved on what it has seen.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from policies import completion_features, features, messages_features, responses_features
from policies.asked import Features
from policies.fitted import PROMPT_BYTES_MAX
from policies.request import RequestError
from telemetry.store import day_of, day_path, open_for_reading

from .answer_match import answer_text, canonical
from .assemble import assemble
from .captured import Captured, Selection, captured
from .label_store import TEACHERS, Labels, Verdict

PAGE: Final = 200
EVEN_SOURCES: Final = ("human", *TEACHERS)
"""Labels that are drawn; feedback of apps is no even sample, and proves nothing."""

_ATTEMPTS: Final = (
    "select r.id, t.kind, t.backend, t.error_type, t.confidence, t.mean_logprob, t.min_logprob,"
    " q.data, r.reason from attempts t join requests r on r.seq = t.request_seq"
    " left join bodies q on q.id = t.body and q.codec = 0 where r.id in ({}) order by r.seq, t.n"
)


class Api(NamedTuple):
    """How requests of one API are read."""

    parse: Callable[[bytes], Any]
    read_features: Callable[..., Features]
    prompt_text: Callable[[Any], str]


APIS: Final[Mapping[str, Api]] = MappingProxyType(
    {
        "chat": Api(features.parse_chat, features.read_features, features.prompt_text),
        "completions": Api(
            completion_features.parse_completion,
            completion_features.read_features,
            completion_features.prompt_text,
        ),
        "responses": Api(
            responses_features.parse_response,
            responses_features.read_features,
            responses_features.prompt_text,
        ),
        "messages": Api(
            messages_features.parse_messages,
            messages_features.read_features,
            messages_features.prompt_text,
        ),
    }
)


class Given(NamedTuple):
    """One whole answer."""

    backend: str
    text: str
    """Its words; empty where it calls tools."""
    said: str
    """In the form in which answers are compared."""
    confidence: float | None
    """As it was worked out, no model asked."""
    logprob_mean: float | None
    logprob_min: float | None


class Row(NamedTuple):
    """One capture. `right` says of backends whether they answered well: 1, 0, or not in it."""

    id: str
    route: str
    features: Features
    text: str
    """What was asked, as fitted models read it."""
    first: Given | None
    """The first answer, whole; None where there was none."""
    first_backend: str | None
    """Who was asked first, whatever came of it."""
    answers: tuple[Given, ...]
    right: Mapping[str, int]
    reason: str
    """Of the decision, in words."""
    is_even: bool
    """Its label proves something."""
    is_fitted_on: bool
    """Its label belongs to the half that is fitted on."""


def labelled_rows(
    directory: Path,
    *,
    route: str | None = None,
    since_us: int | None = None,
    models: Mapping[str, Sequence[str]],
    only_labelled: bool = False,
) -> Iterator[Row]:
    """What is kept of traffic, oldest first. `models` are the names each backend answers by."""
    selection = Selection(since_us=since_us, route=route, source="traffic")
    found = captured(directory, selection)
    with closing(Labels(directory)) as labels:
        while page := list(islice(found, PAGE)):
            verdicts = labels.verdicts([(one.id, one.input_hash) for one in page])
            if only_labelled:
                page = [one for one in page if one.id in verdicts]
            attempts = _attempts(directory, [one.id for one in page])
            for one in page:
                row = row_of(one, attempts.get(one.id, []), verdicts.get(one.id), models)
                if row is not None:
                    yield row


def row_of(
    one: Captured,
    attempts: Sequence[Sequence[Any]],
    verdict: Verdict | None,
    models: Mapping[str, Sequence[str]],
) -> Row | None:
    """One capture as a row; None where nothing was asked, or it cannot be read."""
    api = APIS.get(one.api)
    if api is None or one.request is None or one.route is None or not attempts:
        return None
    try:
        request = api.parse(one.request)
    except RequestError:
        return None
    asked = api.read_features(
        request,
        body_bytes=len(one.request),
        label_headers={"task": one.task} if one.task else {},
        conversation_header=one.conversation,
        caller=one.caller,
    )
    answers = tuple(given for attempt in attempts if (given := _given(one, attempt)) is not None)
    first_backend = next((str(attempt[2]) for attempt in attempts if attempt[1] == "primary"), None)
    return Row(
        one.id,
        one.route,
        asked,
        "" if asked.prompt_bytes > PROMPT_BYTES_MAX else api.prompt_text(request),
        next((given for given in answers if given.backend == first_backend), None),
        first_backend,
        answers,
        {} if verdict is None else _right(answers, verdict, models),
        str(attempts[0][8] or ""),
        verdict is not None and verdict.source in EVEN_SOURCES,
        is_fitted_on(one.input_hash or one.id.encode()),
    )


def is_fitted_on(asked: bytes) -> bool:
    """Whether labels of what was asked are fitted on, not proved with."""
    return bool(blake2b(asked, digest_size=1, person=b"fit").digest()[0] & 1)


def _given(one: Captured, attempt: Sequence[Any]) -> Given | None:
    """An attempt's answer: its own body, or what the client received of the one that won."""
    _, _, backend, error, confidence, mean, least, body, _ = attempt
    if error is not None:
        return None
    if body is None and backend == one.backend and one.complete:
        body = one.response
    assembled = None if body is None else assemble(bytes(body))
    if assembled is None:
        return None
    text = assembled.message.get("content")
    return Given(
        str(backend),
        text if isinstance(text, str) else "",
        canonical(answer_text(assembled.message)),
        confidence,
        mean,
        least,
    )


def _right(
    answers: Sequence[Given], verdict: Verdict, models: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Who answered as the label says. A teacher's own label is right by definition."""
    wanted = canonical(verdict.text)
    right = {
        name: 1
        for name, known in models.items()
        if verdict.source in TEACHERS and is_one_of(verdict.model or "", known)
    }
    for given in answers:
        right[given.backend] = int(given.said == wanted)
    return right


def is_one_of(model: str, names: Sequence[str]) -> bool:
    """A model by its name, or by the dated name with which it answers."""
    return any(model == name or model.startswith(f"{name}-") for name in names)


def _attempts(directory: Path, identifiers: Sequence[str]) -> dict[str, list[Sequence[Any]]]:
    """Attempts by request id, in order."""
    by_day: dict[str, list[str]] = {}
    for identifier in identifiers:
        by_day.setdefault(day_of(identifier, 0), []).append(identifier)
    found: dict[str, list[Sequence[Any]]] = {}
    for day, wanted in by_day.items():
        with closing(open_for_reading(day_path(directory, day))) as connection:
            connection.row_factory = None
            sql = _ATTEMPTS.format(",".join("?" * len(wanted)))
            try:
                for row in connection.execute(sql, wanted):
                    found.setdefault(row[0], []).append(row)
            except sqlite3.DatabaseError:
                continue  # `captured` has said so
    return found
