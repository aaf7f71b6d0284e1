"""The JSON schema of the whole configuration file, for editors (`check --json-schema`).

`checks` and `routes` stand here, the other rooms' sections in section_schemas.py. What only shows
when words are seen together (names that do not exist, contradictions) is for `check` itself: a
file that fits the schema may still be refused.
"""

from .schema_parts import DEFINITIONS, QUANTILES, Schema, each, mapping, ref
from .section_schemas import section_schemas


def config_json_schema() -> Schema:
    """The schema as plain data, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pointsman configuration",
        "$defs": DEFINITIONS,
        **mapping(
            {
                **section_schemas(),
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


def _check() -> Schema:
    return mapping(
        {
            "at": {"type": "string", "pattern": "^(/.*)?$"},
            "schema": {"type": ["object", "boolean"]},
            "in_prompt": {"type": "boolean"},
        }
    )


def _route() -> Schema:
    return mapping(
        {
            "match": mapping({"model": ref("names"), "labels": each(ref("names"))}),
            "candidates": ref("names"),
            "require": _require(),
            "prefer": {"enum": ["cheapest", "fastest", "surest", "weighted"]},
            "weights": mapping({"error": ref("money"), "late": ref("money")}),
            "if_none": {"enum": ["surest", "cheapest", "fastest", "reject"]},
            "confidence": _confidence(),
            "checks": ref("names"),
            "escalate": _escalate(),
            "hold": {"oneOf": [{"enum": ["none", "all"]}, {"type": "integer", "minimum": 1}]},
            "on_failure": ref("names"),
            "timeout": mapping({key: ref("duration") for key in ("total", "first_token", "idle")}),
            "hedge": mapping({"after": {"type": "string"}, "max_extra_cost": ref("share")}),
            "explore": mapping({"share": ref("share")}, required=["share"]),
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
    latency = mapping({"of": {"enum": ["total", "first_token"]}})
    return mapping(
        {
            "latency": {**latency, "patternProperties": QUANTILES},
            "error": mapping(
                {
                    "max": ref("share"),
                    "confidence": ref("share"),
                    "reference": {"type": "string"},
                },
                required=["max", "reference"],
            ),
            "cost": mapping({"max": ref("money")}, required=["max"]),
        }
    )


def _confidence() -> Schema:
    signal = {"enum": ["checks", "schema", "logprobs", "agreement"]}
    return mapping(
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
    return mapping(
        {
            "to": ref("names"),
            "max_steps": {"type": "integer", "minimum": 1, "maximum": 10},
            "within": ref("duration"),
        },
        required=["to"],
    )


def _shadow() -> Schema:
    return mapping(
        {"backend": {"type": "string"}, "share": ref("share"), "budget": ref("money")},
        required=["backend", "share"],
    )


def _canary() -> Schema:
    keep_if = mapping({"error": ref("change"), "cost": ref("change")})
    return mapping(
        {
            "backend": {"type": "string"},
            "replaces": {"type": "string"},
            "share": ref("share"),
            "stages": {"type": "array", "items": {"anyOf": [{"const": "shadow"}, ref("share")]}},
            "keep_if": {**keep_if, "patternProperties": QUANTILES, "minProperties": 1},
            "min_samples": {"type": "integer", "minimum": 1},
            "then": {"enum": ["promote", "hold"]},
        },
        required=["backend", "keep_if"],
    )


def _probe() -> Schema:
    number, text = {"type": "number", "minimum": 0}, ref("text")
    world = {
        "certified": {"type": "boolean"},
        "tokens": each(number),
        "latency": each(ref("duration")),
        "first_token": each(ref("duration")),
        "in_flight": each({"type": "integer", "minimum": 0}),
        "unavailable": ref("names"),
    }
    return mapping(
        {
            "prompt": text,
            "model": text,
            "labels": each(text),
            "max_tokens": {"type": "integer", "minimum": 1},
            "world": mapping(world),
            "expect": mapping({"backend": text, "rejected": {"type": "boolean"}}),
        },
        required=["prompt", "expect"],
    )
