"""Planes of several scripted backends, each by the name its route gives it."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.plane import Plane, config, stream_answer, whole_answer
from tests.support.plane import event as chat_event
from tests.support.scripted import (
    LAST_CHUNK,
    Script,
    ScriptedUpstream,
    chunk,
    request,
    stall,
    until_closed,
)

HANGS: Script = [request, until_closed]
AGREE = "confidence: {from: agreement, agree_with: b, accept: 0.8}"
JUDGED = "confidence: {judge: j, accept: 0.8}"


SURE, UNSURE = -0.05, -2.0
"""Logprobs of tokens."""
END = [chunk(chat_event(finish="stop")), chunk(b"data: [DONE]\n\n"), LAST_CHUNK]


def token(text: str, logprob: float) -> bytes:
    """One token with its logprob, as an event."""
    choice = {
        "index": 0, "delta": {"content": text}, "finish_reason": None,
        "logprobs": {"content": [{"token": text, "logprob": logprob, "top_logprobs": []}]},
    }  # fmt: skip
    return chat_event(choices=[choice])


def tokens(count: int, logprob: float) -> list[bytes]:
    return [chunk(token("x ", logprob)) for _ in range(count)]


def says(text: str, *, after_s: float = 0.0, more: int = 0) -> Script:
    """An answer, whole, and `more` of the same on the same connection."""
    once: Script = [request, stall(after_s), whole_answer(text)] if after_s else [
        request, whole_answer(text)
    ]  # fmt: skip
    return [*once * (more + 1), until_closed]


def streams(text: str, *, after_s: float = 0.0) -> Script:
    """The same as a stream, a word an event."""
    events = [chat_event(f"{word} ") for word in text.split()]
    end = [chat_event(finish="stop"), b"data: [DONE]\n\n"]
    wait = [stall(after_s)] if after_s else []
    return [request, *wait, stream_answer(*events, *end), until_closed]


def _of_each_connection(script: Script | tuple[Script, ...]) -> tuple[Script, ...]:
    return script if isinstance(script, tuple) else (script,)


@contextmanager
def serving_all(
    directory: Path, route: str, scripts: Mapping[str, Script | tuple[Script, ...]], more: str = ""
) -> Iterator[tuple[dict[str, ScriptedUpstream], Plane]]:
    """A plane with one scripted backend a name; `route` are the default route's members.

    `more` is said of every backend.
    """
    with ExitStack() as stack:
        upstreams = {
            name: stack.enter_context(ScriptedUpstream(*_of_each_connection(script)))
            for name, script in scripts.items()
        }
        declared = {
            name: f"adapter: openai, base_url: '{one.base_url}', model: m-{name},"
            f" price: {{input: 1, output: 2}}{more}"
            for name, one in upstreams.items()
        }
        plane = Plane(directory, config(f"  default: {{{route}}}", **declared))
        yield upstreams, stack.enter_context(plane)
