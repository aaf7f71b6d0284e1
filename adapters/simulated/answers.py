"""Which answers are known, and how a wrong one looks.

A profile's `answers: FILE.jsonl` holds one object a line, `{prompt_sha256, answer}` or
`{prompt, answer}`; `prompt` is the text of the last user message. Nothing in a request can say
what the right answer to it is, so what is measured through a simulated backend is honest.
"""

import hashlib
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from pointsman.errors import PointsmanError

ANSWERS_MAX = 1_000_000

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_WORD = re.compile(r"\w+")
_OPPOSITES = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
_LETTER = re.compile(r"\(?([A-J])\)?\.?")


K = TypeVar("K")


class AnswersUnreadable(PointsmanError):
    """The answers file has a line that cannot be used; the message names file and line."""


class _Line(msgspec.Struct):
    answer: str | float | int | bool | dict[str, object] | list[object]
    prompt: str | None = None
    prompt_sha256: str | None = None


def prompt_sha256(prompt: str) -> str:
    """The key of a prompt: hex SHA-256 of its UTF-8 text without outer white space."""
    return hashlib.sha256(prompt.strip().encode("utf-8", "surrogatepass")).hexdigest()


def load_answers(path: Path) -> dict[str, str]:
    """Read an answers file into {prompt_sha256: answer text}; structured answers become JSON.

    Raises AnswersUnreadable, and OSError where the file cannot be read.
    """
    decode = msgspec.json.Decoder(_Line).decode
    answers: dict[str, str] = {}
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            try:
                line = decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise AnswersUnreadable(f"{path}:{number}: {error}") from None
            answers[_key(line, f"{path}:{number}")] = _as_text(line.answer)
            if len(answers) > ANSWERS_MAX:
                raise AnswersUnreadable(f"{path}: more than {ANSWERS_MAX} answers")
    return answers


def known_answer(answers: Mapping[str, str], prompt: str) -> str | None:
    """The right answer to `prompt`, by its hash with or without outer white space."""
    if not answers:
        return None
    exact = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
    return answers.get(exact, answers.get(prompt_sha256(prompt)))


def wrong_answer(right: str, draw: random.Random) -> str:
    """A plausible wrong answer: one number changed in one digit, else one word; never `right`."""
    structured = _structured(right)
    if structured is not None:
        return _as_text(_with_one_leaf_wrong(structured, draw))
    return _wrong_text(right, draw)


def _wrong_text(right: str, draw: random.Random) -> str:
    numbers = list(_NUMBER.finditer(right))
    if numbers:
        last = numbers[-1]
        return right[: last.start()] + _wrong_number(last[0], draw) + right[last.end() :]
    letter = _LETTER.fullmatch(right.strip())
    if letter:
        others = [other for other in "ABCD" if other != letter[1]]
        return right.replace(letter[1], draw.choice(others))
    words = list(_WORD.finditer(right))
    if not words:
        return right + "?"
    word = words[-1]
    return right[: word.start()] + _wrong_word(word[0]) + right[word.end() :]


def _wrong_number(digits: str, draw: random.Random) -> str:
    """`1,250.10` with one digit changed; its length, commas and decimals stay."""
    places = [index for index, character in enumerate(digits) if character.isdigit()]
    place = draw.choice(places)
    is_leading = place == 0 and len(places) > 1
    others = [digit for digit in "0123456789"[is_leading:] if digit != digits[place]]
    return digits[:place] + draw.choice(others) + digits[place + 1 :]


def _wrong_word(word: str) -> str:
    opposite = _OPPOSITES.get(word.lower())
    if opposite is not None:
        return opposite.capitalize() if word[0].isupper() else opposite
    return word[::-1] if word[::-1] != word else f"{word}s"


def _structured(text: str) -> dict[str, object] | list[object] | None:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict | list) and value else None


def _with_one_leaf_wrong(value: object, draw: random.Random) -> object:
    """The same structure with one leaf changed; numbers are taken before anything else."""
    if isinstance(value, dict) and value:
        key = draw.choice(_best(value))
        return {**value, key: _with_one_leaf_wrong(value[key], draw)}
    if isinstance(value, list) and value:
        index = draw.choice(_best(dict(enumerate(value))))
        changed = _with_one_leaf_wrong(value[index], draw)
        return [*value[:index], changed, *value[index + 1 :]]
    return _wrong_leaf(value, draw)


def _best(members: Mapping[K, object]) -> list[K]:
    """The members to change first: numbers, else whatever is not null."""
    numeric = [
        key
        for key, value in members.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return numeric or [key for key, value in members.items() if value is not None] or list(members)


def _wrong_leaf(value: object, draw: random.Random) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        text = _wrong_text(msgspec.json.encode(value).decode(), draw)
        return msgspec.json.decode(text)
    if isinstance(value, str) and value:
        return _wrong_text(value, draw)
    return "unknown"


def _key(line: _Line, where: str) -> str:
    if (line.prompt is None) == (line.prompt_sha256 is None):
        raise AnswersUnreadable(f"{where}: needs either 'prompt' or 'prompt_sha256'")
    if line.prompt is not None:
        return prompt_sha256(line.prompt)
    return str(line.prompt_sha256).lower()


def _as_text(answer: object) -> str:
    return answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
