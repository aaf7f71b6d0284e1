"""Captures into candidate examples: one pass, one example in memory at a time.

    captures -> verdicts of a page -> example or a code -> masked -> pruned -> a line of a file,
    a row of columns, a signature

What is decided about all of them together (dataset_split) needs only columns and signatures.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from .answer_match import answer_text, canonical
from .captured import Captured, captured, captured_by_id, captured_ids, count_captured
from .chat_row import Excluded, context_messages
from .constant_prefix import NOTHING, PrefixRule, find_prefixes
from .dataset_spec import DatasetSpec
from .dataset_split import Columns
from .example import Example, Json, encode_canonical, example_id, example_of
from .label_store import Labels
from .near import Signatures
from .redaction import RedactionRefused, Redactor, may_hold
from .token_count import TokenCounter, texts_of

PREFIX_SAMPLE: Final = 2000
PAGE: Final = 500
RANKS: Final = {"human": 3, "feedback": 2, "teacher": 1}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Json).decode


class Scan:
    """What one pass over the captures found."""

    def __init__(self, directory: Path, spec: DatasetSpec, counter: TokenCounter) -> None:
        self._directory = directory
        self._spec = spec
        self._counter = counter
        self.columns = Columns()
        self.excluded: Counter[str] = Counter()
        self.masked: Counter[str] = Counter()
        self.tokens_pruned = 0
        self.rows_unpruned = 0
        """Rows that begin otherwise than the rule of their route."""
        self.captures = 0
        self.prefixes: dict[str, PrefixRule] = {}
        self._tombstoned: set[str] = set()

    def run(
        self, file: BinaryIO, signatures: Signatures, progress: Callable[[int, int], None]
    ) -> None:
        """Write every candidate to `file`, a line each, in the order of the columns."""
        total = count_captured(self._directory, self._spec.selection)
        self.prefixes = self._find_prefixes()
        rows = captured(self._directory, self._spec.selection)
        with closing(Labels(self._directory)) as labels:
            self._tombstoned = labels.tombstoned()
            while page := list(islice(rows, PAGE)):
                for example in self._examples(page, labels):
                    file.write(_encode(example) + b"\n")
                    signatures.add(self._distinct_text(example))
                progress(self.captures, total)

    def _examples(self, page: list[Captured], labels: Labels) -> Iterator[Example]:
        verdicts = labels.verdicts([(row.id, row.input_hash) for row in page])
        disliked = labels.disliked([row.id for row in page])
        for row in page:
            self.captures += 1
            try:
                if row.id in self._tombstoned:
                    raise Excluded("tombstoned")
                example, unused = example_of(
                    row, self._spec.rules, verdicts.get(row.id), is_disliked=row.id in disliked
                )
                self._finish(example)
            except Excluded as excluded:
                self.excluded[excluded.code] += 1
                continue
            self.excluded["choice_unused"] += unused
            self._add(example, row)
            yield example

    def _finish(self, example: Example) -> None:
        """Mask, prune, count. Raises Excluded."""
        if self._spec.redact:
            self._redact(example)
        if self._spec.prune_prefix:
            self._prune(example)
        example.tokens = self._counter.example(example.messages, example.target)
        if self._spec.tokens_max is not None and example.tokens > self._spec.tokens_max:
            raise Excluded("over_length")
        example.id = example_id(example)

    def _redact(self, example: Example) -> None:
        told = (example.messages, example.target, example.rejected, example.reasoning)
        if not may_hold(_encode(told).decode("utf-8", "replace")):
            return
        redactor = Redactor()
        try:
            for name in ("messages", "target", "rejected", "reasoning"):
                setattr(example, name, redactor.value(getattr(example, name)))
        except RedactionRefused:
            raise Excluded("pii_blocked") from None
        self.masked.update(redactor.found)

    def _prune(self, example: Example) -> None:
        rule = self.prefixes.get(str(example.meta.get("route")), NOTHING)
        if rule.is_empty:
            return
        rest = rule.strip(example.messages)
        if rest is None or not "".join(t for m in rest for t in texts_of(m)).strip():
            self.rows_unpruned += 1
            return
        before = self._counter.example(example.messages, {})
        example.messages = rest
        example.meta = {**example.meta, "prefix": rule.id}
        self.tokens_pruned += before - self._counter.example(rest, {})

    def _distinct_text(self, example: Example) -> str:
        """What near-duplicates are told by: the texts behind the route's constant beginning."""
        rule = self.prefixes.get(str(example.meta.get("route")), NOTHING)
        rest = rule.strip(example.messages) or example.messages
        return "\n".join(text for message in rest for text in texts_of(message))

    def _add(self, example: Example, row: Captured) -> None:
        columns = self.columns
        columns.identity.append(int(example.id[:16], 16))
        columns.input.append(_number((example.messages, example.tools, example.response_format)))
        columns.target.append(_number(canonical(answer_text(example.target))))
        conversation = row.conversation
        columns.conversation.append(_number(conversation) or 1 if conversation else 0)
        turns = list(_turns([*example.messages, example.target]))
        columns.turn.append(turns[-1])
        columns.earlier.extend(turns[:-1])
        columns.ts_us.append(row.ts_us)
        columns.rank.append(RANKS.get(example.label_source, 0))

    def _find_prefixes(self) -> dict[str, PrefixRule]:
        """From a sample of the captures: those whose hashed ids come first."""
        ids = (
            (hashlib.sha256(identifier.encode()).digest(), identifier)
            for identifier, _ in captured_ids(self._directory, self._spec.selection)
        )
        sample = [identifier for _, identifier in heapq.nsmallest(PREFIX_SAMPLE, ids)]
        by_route: dict[str, list[list[Json]]] = {}
        for row in captured_by_id(self._directory, sample):
            try:
                messages = context_messages(_decode(row.request or b""))
            except (Excluded, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if self._spec.redact:
                try:
                    messages = Redactor().value(messages)  # type: ignore[assignment]
                except RedactionRefused:
                    continue
            by_route.setdefault(str(row.route), []).append(messages)
        return find_prefixes(by_route)


def _number(value: object) -> int:
    """64 bits that stand for a value."""
    return int.from_bytes(hashlib.blake2b(encode_canonical(value), digest_size=8).digest(), "big")


def _turns(messages: list[Json]) -> Iterator[int]:
    """A number for the chat up to each of the assistant's turns."""
    digest = hashlib.blake2b(digest_size=8)
    for message in messages:
        digest.update(encode_canonical(message))
        if message.get("role") == "assistant":
            yield int.from_bytes(digest.digest(), "big")
