"""From a finished request to what the next decisions may learn of it.

Every attempt teaches, not only the one that won. An attempt that ran into a time limit counts
with the time it took, for it would have taken longer still; one that failed at once says
nothing about speed, and one whose client left says nothing about its end. The first of two
attempts at once, aborted for the other, had waited longest: it counts so too, or a backend whose
slow answers are cut off would look faster by the day. What was not decided
(passed through, fetched by its id) or no model's answer (tokens counted) teaches nothing either.
"""

from collections.abc import Iterator

import msgspec

from pointsman.tokens import Usage
from policies.features import parse_chat
from policies.learned import Observation
from policies.request import RequestError
from policies.steps import HEDGE_LOST
from telemetry.record import AttemptRecord, RequestRecord

from .endpoints import ENDPOINTS

UNKNOWN_TASK = "other"
TAUGHT_BY = {one.api: one for one in ENDPOINTS.values() if one.api != "count_tokens"}
TOO_SLOW = "timeout"  # what an attempt that ran into a limit of its route is called


def observations(record: RequestRecord) -> Iterator[Observation]:
    """One observation for each attempt that tells something, in the order of asking."""
    if not record.attempts or not _teaches(record):
        return
    prompt_bytes = prompt_bytes_of(record)
    for attempt in record.attempts:
        if attempt.kind == "judge":
            continue  # it was asked something else
        if attempt.error_type is None or attempt.error_type == TOO_SLOW:
            yield _observation(record, attempt, prompt_bytes)
        elif attempt.error_type == HEDGE_LOST and attempt.kind == "primary":
            yield _overtaken(record, attempt, prompt_bytes)


def _teaches(record: RequestRecord) -> bool:
    is_fetched = record.api == "responses" and record.decided is None
    return record.api in TAUGHT_BY and not is_fetched


def prompt_bytes_of(record: RequestRecord) -> int:
    """The measure the decision used, as messages and tools. 0 where the body was not kept."""
    if record.request is None:
        return record.request_bytes or 0
    try:
        if record.api != "chat":
            return _prompt_bytes(record.api, record.request)
        request = parse_chat(record.request)
    except RequestError:
        return len(record.request)
    return (len(bytes(request.messages)) + len(bytes(request.tools))) or len(record.request)


def _prompt_bytes(api: str, body: bytes) -> int:
    """As `features` tells it; for chat, which is most of the traffic, there is a shorter way."""
    endpoint = TAUGHT_BY.get(api)
    if endpoint is None:
        return len(body)
    features = endpoint.read_features(
        endpoint.parse(body),
        body_bytes=len(body),
        label_headers={},
        conversation_header=None,
        caller=None,
    )
    return features.prompt_bytes


def _observation(record: RequestRecord, attempt: AttemptRecord, prompt_bytes: int) -> Observation:
    is_whole = attempt.error_type is None
    first_us = attempt.first_byte_us if record.is_stream else None
    return Observation(
        backend=attempt.backend,
        task=record.task or UNKNOWN_TASK,
        prompt_bytes=prompt_bytes,
        usage=attempt.usage if is_whole else Usage(),
        first_token_s=None if first_us is None else first_us / 1e6,
        total_s=attempt.total_us / 1e6,
        completed=is_whole,
        served_at_once=attempt.served_at_once,
    )


def _overtaken(record: RequestRecord, attempt: AttemptRecord, prompt_bytes: int) -> Observation:
    """It took at least so long: to its first token where a stream had none yet, else in all."""
    waited_s = attempt.total_us / 1e6
    has_begun = not record.is_stream or attempt.first_byte_us is not None
    observation = _observation(record, attempt, prompt_bytes)
    if has_begun:
        return observation
    return msgspec.structs.replace(observation, first_token_s=waited_s, total_s=None)
