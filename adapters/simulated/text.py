"""What a simulated backend says where no answer is known: a sentence, or JSON of a schema.

The text follows from the prompt alone, so the same question gets the same answer.
"""

import math
import random
import re

TOKEN_CHARACTERS = 4  # a token of English text, roughly
SCHEMA_DEPTH_MAX = 12
ITEMS_MAX = 100
DRAWN_RANGE = 1000.0  # numbers without bounds are drawn from 0 up to this
QUOTED_CHARACTERS = 60

_PIECE = re.compile(r" ?[^\W\d_]{1,12}|\d{1,3}|.", re.DOTALL)
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_SENTENCES = (
    "The figures agree with what was asked.",
    "The second point follows from the first.",
    "Nothing in the question contradicts this.",
    "A longer answer would say the same in more words.",
    "The usual exceptions apply and change little here.",
    "It is worth checking the result against the source.",
    "Where the data are thin, the safer reading was taken.",
)
_FORMATS = {
    "date": "2025-03-14",
    "date-time": "2025-03-14T09:26:53Z",
    "time": "09:26:53Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "3f2b8c1e-5a47-4d19-9c60-7e1f2a3b4c5d",
    "ipv4": "192.0.2.1",
}

Schema = dict[str, object]


def split_tokens(text: str) -> list[str]:
    """`text` in pieces of about a token's size; joined they give `text` again."""
    return _PIECE.findall(text)


def count_tokens(text: str) -> int:
    """About how many tokens `text` has: bytes over four, at least one where it is not empty."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // TOKEN_CHARACTERS)


def sentence(prompt: str, tokens: int, draw: random.Random) -> str:
    """About `tokens` tokens of text that names the question it answers."""
    words = " ".join(prompt.split())
    quoted = words if len(words) <= QUOTED_CHARACTERS else words[: QUOTED_CHARACTERS - 1] + "…"
    text = f"A simulated answer to “{quoted}”." if quoted else "A simulated answer."
    wanted = len(split_tokens(text))
    while wanted < tokens:
        following = draw.choice(_SENTENCES)
        text += " " + following
        wanted += len(split_tokens(following))
    return "".join(split_tokens(text)[: max(1, tokens)])


def json_value(schema: Schema, prompt: str, draw: random.Random) -> object:
    """A value that fits `schema`; numbers are taken from the prompt where they fit.

    Understood: type, enum, const, properties, items, min/max, lengths, formats, anyOf, oneOf,
    allOf, $ref into the schema itself. A `pattern` is not.
    """
    numbers = [float(found.replace(",", "")) for found in _NUMBER.findall(prompt)[:ITEMS_MAX]]
    return _Generator(schema, numbers, draw).value(schema, 0)


class _Generator:
    """Walks one schema; `numbers` are those of the prompt, used up in order."""

    def __init__(self, root: Schema, numbers: list[float], draw: random.Random) -> None:
        self._root = root
        self._numbers = numbers
        self._draw = draw

    def value(self, schema: object, depth: int) -> object:
        if not isinstance(schema, dict) or depth > SCHEMA_DEPTH_MAX:
            return None
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        options = schema.get("enum")
        if isinstance(options, list) and options:
            return self._draw.choice(options)
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return int(self._number(schema, is_whole=True))
            case "number":
                return self._number(schema, is_whole=False)
            case "boolean":
                return self._draw.random() < 0.5
            case "null":
                return None
            case _:
                return self._string(schema)

    def _resolved(self, schema: Schema, depth: int) -> Schema:
        """Follow one $ref, take the first alternative, merge allOf."""
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._resolved(self._referred(reference), depth) if depth < 100 else {}
        for word in ("anyOf", "oneOf"):
            options = schema.get(word)
            if isinstance(options, list) and options and isinstance(options[0], dict):
                return self._resolved({**schema, word: None, **options[0]}, depth)
        parts = schema.get("allOf")
        if isinstance(parts, list):
            merged: Schema = {**schema, "allOf": None}
            for part in parts:
                merged.update(self._resolved(part, depth) if isinstance(part, dict) else {})
            return merged
        return schema

    def _referred(self, reference: str) -> Schema:
        found: object = self._root
        for name in reference.removeprefix("#").strip("/").split("/"):
            if name:
                found = found.get(name) if isinstance(found, dict) else None
        is_itself = isinstance(found, dict) and found.get("$ref") == reference
        return found if isinstance(found, dict) and not is_itself else {}

    def _object(self, schema: Schema, depth: int) -> object:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {}
        required = schema.get("required")
        kept = required if depth > SCHEMA_DEPTH_MAX // 2 and isinstance(required, list) else None
        return {
            name: self.value(part, depth + 1)
            for name, part in properties.items()
            if kept is None or name in kept
        }

    def _array(self, schema: Schema, depth: int) -> object:
        least, most = _bound(schema, "minItems", 0), _bound(schema, "maxItems", ITEMS_MAX)
        if depth > SCHEMA_DEPTH_MAX // 2:
            most = least
        length = min(ITEMS_MAX, int(max(least, min(most, 2))))
        return [self.value(schema.get("items", {}), depth + 1) for _ in range(length)]

    def _number(self, schema: Schema, *, is_whole: bool) -> float:
        """The prompt's first number that fits, else one drawn."""
        least, most = _range(schema, is_whole=is_whole)
        step = _bound(schema, "multipleOf", 1.0 if is_whole else 0.0)
        for index, number in enumerate(self._numbers):
            if least <= number <= most and (not step or number % step == 0):
                return self._numbers.pop(index)
        return self._drawn(least, min(most, least + DRAWN_RANGE), step)

    def _drawn(self, least: float, most: float, step: float) -> float:
        number = self._draw.uniform(least, most)
        if step:
            return max(-(-least // step), number // step) * step
        return round(number, 2) if most - least > 1 else number

    def _string(self, schema: Schema) -> str:
        form = schema.get("format")
        if isinstance(form, str) and form in _FORMATS:
            return _FORMATS[form]
        text = self._draw.choice(("amber", "birch", "cedar", "delta", "ember", "fjord"))
        least, most = _bound(schema, "minLength", 0), _bound(schema, "maxLength", 10_000)
        return text.ljust(min(int(least), 10_000), "x")[: int(most)]


def _type_of(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _range(schema: Schema, *, is_whole: bool) -> tuple[float, float]:
    """Inclusive bounds; exclusive ones move inwards."""
    inwards = 1.0 if is_whole else 1e-6
    above = _bound(schema, "exclusiveMinimum", -math.inf) + inwards
    below = _bound(schema, "exclusiveMaximum", math.inf) - inwards
    most = min(_bound(schema, "maximum", math.inf), below)
    least = max(_bound(schema, "minimum", -math.inf), above)
    return (least if math.isfinite(least) else min(0.0, most - DRAWN_RANGE)), most


def _bound(schema: Schema, name: str, default: float) -> float:
    value = schema.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else default  # type: ignore[return-value] # mypy: no narrowing through a name
