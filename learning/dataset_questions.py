"""The rows of a data set as questions with their answers, for a benchmark."""

from collections.abc import Iterator
from pathlib import Path

from .answer_match import answer_text
from .dataset_store import find, read_examples
from .example import Example
from .question import Json, Question


def dataset_questions(directory: Path, text: str, *, split: str) -> list[Question]:
    """The questions of one split. Raises DatasetError."""
    name = find(directory, text)
    return list(_questions(read_examples(directory, name, splits=frozenset((split,)))))


def _questions(examples: Iterator[Example]) -> Iterator[Question]:
    for example in examples:
        body: Json = {"messages": example.messages}
        if example.tools:
            body["tools"] = example.tools
        if example.response_format:
            body["response_format"] = example.response_format
        yield Question(
            example.request_id,
            body,
            answer_text(example.target),
            example.group_key or example.request_id,
        )
