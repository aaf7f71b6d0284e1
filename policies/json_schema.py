"""The JSON schema of the whole configuration file, for editors (`check --json-schema`).

`checks` and `routes` are described in full; the other rooms' sections by their keys. What
only shows when words are seen together (names that do not exist, contradictions) is for
`check` itself: a file that fits the schema may still be refused.
"""

from collections.abc import Sequence

Schema = dict[str, object]

_NUMBER = r"(\d+(\.\d+)?|\.\d+)"
_DEFINITIONS: Schema = {
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
    "secret": {
        "oneOf": [
            {"type": "object", "required": [key], "properties": {key: {"type": "string"}}}
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


def config_json_schema() -> Schema:
    """The schema as plain data, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pointsman configuration",
        "$defs": _DEFINITIONS,
        **_mapping(
            {
                "listen": {"type": ["string", "object"]},
                "admin": {"type": ["string", "object"]},
                "capture": {"type": "object"},
                "keys": _mapping({"file": {"type": "string"}}, required=["file"]),
                "limits": {"type": "object"},
                "alarms": _mapping(
                    {"webhook": {"type": ["string", "object"]}, "token": _ref("secret")},
                    required=["webhook"],
                ),
                "backends": {"type": "object", "additionalProperties": _backend()},
                "passthrough": {"type": "array", "items": {"type": "object"}},
                "checks": {"type": "object", "additionalProperties": _check()},
                "routes": {
                    "type": "object",
                    "required": ["default"],
                    "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$"},
                    "additionalProperties": _route(),
                },
            },
            required=["backends", "routes"],
        ),
    }


def _backend() -> Schema:
    """Loose: the adapters say the rest."""
    return {
        "type": "object",
        "required": ["adapter"],
        "properties": {
            "adapter": {"type": "string"},
            "base_url": {"type": "string"},
            "model": {"type": "string"},
            "api_key": _ref("secret"),
            "price": {"type": "object"},
            "expect": {"type": "object"},
            "context": {"type": "integer", "minimum": 1},
        },
    }


def _check() -> Schema:
    return _mapping(
        {
            "at": {"type": "string", "pattern": "^(/.*)?$"},
            "schema": {"type": ["object", "boolean"]},
            "in_prompt": {"type": "boolean"},
        }
    )


def _route() -> Schema:
    return _mapping(
        {
            "match": _mapping({"model": _ref("names"), "labels": _each(_ref("names"))}),
            "candidates": _ref("names"),
            "require": _require(),
            "prefer": {"enum": ["cheapest", "fastest", "surest", "weighted"]},
            "weights": _mapping({"error": _ref("money"), "late": _ref("money")}),
            "if_none": {"enum": ["surest", "cheapest", "fastest", "reject"]},
            "confidence": _confidence(),
            "checks": _ref("names"),
            "escalate": _escalate(),
            "hold": {"oneOf": [{"enum": ["none", "all"]}, {"type": "integer", "minimum": 1}]},
            "on_failure": _ref("names"),
            "timeout": _mapping(
                {key: _ref("duration") for key in ("total", "first_token", "idle")}
            ),
            "hedge": _mapping({"after": {"type": "string"}, "max_extra_cost": _ref("share")}),
            "explore": _mapping({"share": _ref("share")}, required=["share"]),
            "shadow": _shadow(),
            "canary": _canary(),
            "sticky": {"enum": ["none", "conversation"]},
            "capture": {"enum": ["full", "metadata", "off"]},
            "redact": {"type": "boolean"},
            "probes": {"type": "array", "items": _probe()},
        },
        required=["candidates"],
    )


def _require() -> Schema:
    latency = _mapping({"of": {"enum": ["total", "first_token"]}})
    return _mapping(
        {
            "latency": {**latency, "patternProperties": _QUANTILES},
            "error": _mapping(
                {
                    "max": _ref("share"),
                    "confidence": _ref("share"),
                    "reference": {"type": "string"},
                },
                required=["max", "reference"],
            ),
            "cost": _mapping({"max": _ref("money")}, required=["max"]),
        }
    )


def _confidence() -> Schema:
    signal = {"enum": ["checks", "schema", "logprobs", "agreement"]}
    return _mapping(
        {
            "from": {"oneOf": [signal, {"type": "array", "items": signal, "minItems": 1}]},
            "accept": {
                "oneOf": [
                    {"const": "calibrated"},
                    {"type": "number", "minimum": 0, "maximum": 1},
                ]
            },
            "agree_with": {"type": "string"},
            "judge": {"type": "string"},
        }
    )


def _escalate() -> Schema:
    return _mapping(
        {
            "to": _ref("names"),
            "max_steps": {"type": "integer", "minimum": 1, "maximum": 10},
            "within": _ref("duration"),
        },
        required=["to"],
    )


def _shadow() -> Schema:
    return _mapping(
        {"backend": {"type": "string"}, "share": _ref("share"), "budget": _ref("money")},
        required=["backend", "share"],
    )


def _canary() -> Schema:
    keep_if = _mapping({"error": _ref("change"), "cost": _ref("change")})
    return _mapping(
        {
            "backend": {"type": "string"},
            "replaces": {"type": "string"},
            "share": _ref("share"),
            "stages": {"type": "array", "items": {"anyOf": [{"const": "shadow"}, _ref("share")]}},
            "keep_if": {**keep_if, "patternProperties": _QUANTILES, "minProperties": 1},
            "min_samples": {"type": "integer", "minimum": 1},
            "then": {"enum": ["promote", "hold"]},
        },
        required=["backend", "keep_if"],
    )


def _probe() -> Schema:
    number, text = {"type": "number", "minimum": 0}, _ref("text")
    world = {
        "certified": {"type": "boolean"},
        "tokens": _each(number),
        "latency": _each(_ref("duration")),
        "first_token": _each(_ref("duration")),
        "in_flight": _each({"type": "integer", "minimum": 0}),
        "unavailable": _ref("names"),
    }
    return _mapping(
        {
            "prompt": text,
            "model": text,
            "labels": _each(text),
            "max_tokens": {"type": "integer", "minimum": 1},
            "world": _mapping(world),
            "expect": _mapping({"backend": text, "rejected": {"type": "boolean"}}),
        },
        required=["prompt", "expect"],
    )


_QUANTILES: Schema = {r"^p\d{1,2}(\.\d+)?$": {"$ref": "#/$defs/duration"}}


def _mapping(properties: Schema, required: Sequence[str] = ()) -> Schema:
    """A mapping of these keys and no others."""
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "required": list(required)} if required else schema


def _each(value: object) -> Schema:
    """A mapping of free names."""
    return {"type": "object", "additionalProperties": value}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
