"""A plane whose client keeps books of all it asks, balanced against the journal at the end.

    with ScriptedUpstream([request, reset]) as up, Lab(tmp_path, a=up.base_url) as lab:
        answer = lab.ask(STREAMED)
        ...

Whatever fault is played, on leaving the block this must hold, else the test fails: one record
for each request that was let in; the digests of what the client sent and of what it saw equal
to the record's; and none marked complete but a whole answer with a whole ending.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.support.ledger import is_whole
from tests.support.plane import ASKED, Kept, Plane, config
from tests.support.raw_client import Answer, RawClient, body_of, post

_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')


class Entry(NamedTuple):
    """One request, as its client knows it."""

    sent: bytes
    answer: Answer | None
    """None where not even a head came."""
    has_left: bool
    """The client closed before the end."""


class Books:
    """What a client knows of each request that was let in."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def enter(self, sent: bytes, answer: Answer | None, *, has_left: bool = False) -> None:
        """One request more."""
        self.entries.append(Entry(sent, answer, has_left))

    def differences(self, records: Sequence[Kept]) -> list[str]:
        """What the journal says otherwise, a line each."""
        wrong = [
            f"{kept.record.id}: complete, and its answer is not whole"
            for kept in records
            if kept.record.complete and not _has_whole_ending(kept)
        ]
        left = list(records)
        for entry in self.entries:
            kept = next((one for one in left if _is_of(one, entry)), None)
            if kept is None:
                wrong.append(f"no record of {entry}")
                continue
            left.remove(kept)
            wrong += [f"{kept.record.id}: {line}" for line in _differences(entry, kept)]
        return wrong + [f"{kept.record.id}: nobody asked that" for kept in left]


def _is_of(kept: Kept, entry: Entry) -> bool:
    own = None if entry.answer is None else entry.answer.header("x-pointsman-decision-id")
    if own is not None:
        return kept.record.id == own
    return kept.record.request == entry.sent


def _differences(entry: Entry, kept: Kept) -> Iterator[str]:
    record, answer = kept.record, entry.answer
    seen = b"" if answer is None else answer.body
    written = kept.response or b""
    if record.request != entry.sent:
        yield "another request"
    if not (written.startswith(seen) if entry.has_left else written == seen):
        yield f"the client saw {seen[-80:]!r}, the record has {written[-80:]!r}"
    is_good = answer is not None and answer.status == 200 and answer.is_whole
    if record.complete != is_good and not (entry.has_left and not record.complete):
        yield f"complete is {record.complete}, {is_good} to the client"
    if answer is not None and not entry.has_left and record.http_status != answer.status:
        yield f"status {record.http_status}, {answer.status} to the client"


def _has_whole_ending(kept: Kept) -> bool:
    """Stricter than the program's own reader in nothing but that it looks at the bytes alone."""
    response = kept.response or b""
    if b"data:" in response[:1000]:
        return bool(_FINISHED.search(response)) or b"[DONE]" in response[-40:]
    return is_whole({"response": response.decode("utf-8", "replace")})


class Lab:
    """A plane with backends `urls`, the first of them the candidate; `route` has the rest of it.

    A value that is no URL is a whole backend declaration.
    """

    def __init__(self, directory: Path, *, route: str = "", top: str = "", **urls: str) -> None:
        first = next(iter(urls))
        members = f"candidates: [{first}]" + (f", {route}" if route else "")
        self.plane = Plane(directory, config(f"  default: {{{members}}}", top=top, **urls))
        self.books = Books()

    def __enter__(self) -> Self:
        self.plane.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.balance()
        finally:
            self.plane.__exit__(kind, error, trace)

    def balance(self) -> list[Kept]:
        """Hold the books against the journal; gives all records."""
        records = self.plane.wait_for_records(len(self.books.entries))
        assert self.books.differences(records) == []
        return records

    def ask(self, body: bytes | dict[str, Any] = ASKED, *headers: str) -> Answer:
        """One request on a connection of its own, read to its end."""
        with self.plane.client() as client:
            return self.ask_on(client, body, *headers)

    def ask_on(
        self, client: RawClient, body: bytes | dict[str, Any] = ASKED, *headers: str
    ) -> Answer:
        """The same on a connection that there is."""
        answer = client.ask(body, *headers)
        self.books.enter(body_of(body), answer)
        return answer

    @contextmanager
    def leaving(self, body: bytes | dict[str, Any] = ASKED, *headers: str) -> Iterator["Leaving"]:
        """A client that has sent a request and goes at the end of the block, whatever came."""
        with self.plane.client() as client:
            leaving = Leaving(client)
            client.send(post(body, *headers))
            yield leaving
        self.books.enter(body_of(body), leaving.answer, has_left=True)

    def only_record(self) -> Kept:
        """The one record there is."""
        return self.plane.only_record()


class Leaving:
    """A client on its way out."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.answer: Answer | None = None

    def read_some(self, chunks: int = 1) -> Answer:
        """Head and some chunks of the answer."""
        if self.answer is None:
            self.answer = self.client.read_head()
        for _ in range(chunks):
            self.client.read_chunk(self.answer)
        return self.answer


def over_tls(url: str, *, more: str = "") -> str:
    """Declares a backend whose authority is `ca.pem` beside the configuration."""
    return f"adapter: openai, base_url: '{url}', model: m-a, tls: {{ca: ca.pem}}{more}"
