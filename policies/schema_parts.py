"""What the parts of the configuration's JSON schema are made of: units, names, mappings."""

from collections.abc import Sequence

Schema = dict[str, object]

_NUMBER = r"(\d+(\.\d+)?|\.\d+)"
DEFINITIONS: Schema = {
    "duration": {
        "type": "string",
        "pattern": rf"^\s*{_NUMBER}\s*(us|ms|s|m|h|d)\s*$",
        "examples": ["200ms", "1.5s"],
    },
    "money": {"type": "string", "pattern": rf"^\s*\$\s*{_NUMBER}\s*$", "examples": ["$0.004"]},
    "share": {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*%\s*$", "examples": ["5%"]},
    "change": {
        "type": "string",
        "pattern": rf"^\s*[+-]{_NUMBER}\s*(pp|%)\s*$",
        "examples": ["+0.5pp", "+3%"],
    },
    "size": {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {
                "type": "string",
                "pattern": rf"^\s*{_NUMBER}\s*(B|KB|MB|GB|KiB|MiB|GiB)?\s*$",
                "examples": ["20MiB"],
            },
        ]
    },
    "secret": {
        "oneOf": [
            {
                "type": "object",
                "required": [key],
                "properties": {key: {"type": "string"}},
                "additionalProperties": False,
            }
            for key in ("env", "file")
        ]
    },
    "text": {"type": ["string", "number", "boolean"]},
    "names": {
        "oneOf": [
            {"$ref": "#/$defs/text"},
            {
                "type": "array",
                "items": {"$ref": "#/$defs/text"},
                "minItems": 1,
                "uniqueItems": True,
            },
        ]
    },
}

QUANTILES: Schema = {r"^p\d{1,2}(\.\d+)?$": {"$ref": "#/$defs/duration"}}
BOOLEAN: Schema = {"type": "boolean"}
TEXT: Schema = {"$ref": "#/$defs/text"}
DURATION: Schema = {"$ref": "#/$defs/duration"}
SHARE: Schema = {"$ref": "#/$defs/share"}
SECRET: Schema = {"$ref": "#/$defs/secret"}


def mapping(properties: Schema, required: Sequence[str] = ()) -> Schema:
    """A mapping of these keys and no others."""
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "required": list(required)} if required else schema


def each(value: object) -> Schema:
    """A mapping of free names."""
    return {"type": "object", "additionalProperties": value}


def ref(name: str) -> Schema:
    """One of the definitions."""
    return {"$ref": f"#/$defs/{name}"}


def whole(least: int) -> Schema:
    """A whole number, at least this."""
    return {"type": "integer", "minimum": least}


def number(least: float) -> Schema:
    """A number, at least this."""
    return {"type": "number", "minimum": least}
