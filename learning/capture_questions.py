"""Questions drawn from captures, with the answers that are taken as right.

The sample is the questions whose hashed ids come first, so it is the same for the same seed and
captures, and a larger sample holds the smaller one. Of captures that ask the same, one is drawn.
"""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from .answer_match import answer_text
from .assemble import assemble
from .captured import Captured, Selection, captured_by_id, captured_ids
from .label_store import Labels, Verdict
from .question import Json, Question, asked

_decode = msgspec.json.Decoder(Json).decode


def draw_questions(
    directory: Path,
    selection: Selection,
    *,
    sample: int,
    seed: int = 0,
    needs_label: bool = False,
) -> list[Question]:
    """At most `sample` questions; with `needs_label` only those whose right answer is known."""
    with closing(Labels(directory)) as labels:
        if needs_label and labels.is_empty:
            return []
        keys = _drawn(directory, selection, seed, None if needs_label else sample)
        found: list[Question] = []
        for start in range(0, len(keys), 500):
            page = keys[start : start + 500]
            verdicts = labels.verdicts(page)
            wanted = [key for key in page if not needs_label or key[0] in verdicts]
            found += _questions(directory, wanted[: sample - len(found)], verdicts)
            if len(found) >= sample:
                break
    return found


def _drawn(
    directory: Path, selection: Selection, seed: int, sample: int | None
) -> list[tuple[str, bytes | None]]:
    """Ids and input hashes in the order of their lots; of one input hash the first id."""
    unique: dict[bytes, str] = {}
    for identifier, digest in captured_ids(directory, _answerable(selection)):
        if digest is not None:
            unique.setdefault(bytes(digest), identifier)
    lots: Iterator[tuple[bytes, str, bytes]] = (
        (hashlib.sha256(b"%d|%b" % (seed, digest)).digest(), identifier, digest)
        for digest, identifier in unique.items()
    )
    chosen = sorted(lots) if sample is None else heapq.nsmallest(sample, lots)
    return [(identifier, digest) for _, identifier, digest in chosen]


def _answerable(selection: Selection) -> Selection:
    """Chats whose bodies were kept."""
    kept = "r.api = 'chat' and r.req_body is not null"
    where = kept if selection.where is None else f"({selection.where}\n) and {kept}"
    return msgspec.structs.replace(selection, where=where)


def _questions(
    directory: Path, keys: Sequence[tuple[str, bytes | None]], verdicts: dict[str, Verdict]
) -> list[Question]:
    order = {identifier: rank for rank, (identifier, _) in enumerate(keys)}
    rows = sorted(captured_by_id(directory, list(order)), key=lambda row: order[row.id])
    found = [question_of(row, verdicts.get(row.id)) for row in rows]
    return [question for question in found if question is not None]


def question_of(row: Captured, verdict: Verdict | None = None) -> Question | None:
    """A capture as a question; None where its request is no chat."""
    try:
        request = _decode(row.request or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    body = asked(request)
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        return None
    answer = assemble(row.response) if row.response and row.status == "ok" else None
    return Question(
        row.id,
        body,
        verdict.text if verdict is not None else None,
        row.conversation or row.id,
        answer_text(answer.message) if answer is not None and answer.is_whole else None,
        row.backend,
        row.input_hash,
        row.route,
        row.confidence,
    )
