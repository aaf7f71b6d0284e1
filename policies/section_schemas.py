"""The JSON schemas of the sections that other rooms read: where it listens, what is kept, backends.

They stand here as data, for this room may import none of the others; a test holds each key
against the room that reads it, both ways.
"""

from .schema_parts import (
    BOOLEAN,
    DURATION,
    SECRET,
    SHARE,
    TEXT,
    Schema,
    each,
    mapping,
    number,
    ref,
    whole,
)


def section_schemas() -> Schema:
    """By section: all but `checks` and `routes`."""
    return {
        "listen": _listen(),
        "admin": _admin(),
        "capture": _capture(),
        "keys": mapping({"file": TEXT}, required=["file"]),
        "limits": _limits(),
        "alarms": mapping(
            {"webhook": {"anyOf": [{"type": "string"}, SECRET]}, "token": SECRET},
            required=["webhook"],
        ),
        "backends": each(_backend()),
        "passthrough": {
            "type": "array",
            "items": mapping(
                {"path": {"type": "string", "pattern": "^/v1/"}, "backend": TEXT},
                required=["path", "backend"],
            ),
        },
    }


def _listen() -> Schema:
    tls = mapping({"certificate": TEXT, "key": TEXT}, required=["certificate", "key"])
    full = mapping({"address": _ADDRESS, "tls": tls}, required=["address"])
    return {"anyOf": [_ADDRESS, full]}


def _admin() -> Schema:
    words: Schema = {"address": _ADDRESS, "token": SECRET, "hosts": _texts()}
    return {"anyOf": [_ADDRESS, mapping(words, required=["address"])]}


def _capture() -> Schema:
    return mapping(
        {
            "directory": TEXT,
            "durability": {"enum": ["process", "power"]},
            "on_error": {"enum": ["fail_open", "fail_closed"]},
            "keep": {"anyOf": [{"const": "forever"}, DURATION]},
        }
    )


def _limits() -> Schema:
    return mapping(
        {
            "body": ref("size"),
            "in_flight": whole(1),
            "in_flight_per_key": whole(1),
            "queue": DURATION,
        }
    )


def _backend() -> Schema:
    """The words of all adapters together; which of them one knows is for `check` to say."""
    return mapping(
        {
            "adapter": {"type": "string"},
            "base_url": {"type": "string", "pattern": "^https?://"},
            "server": {"enum": ["openai", "vllm", "llama.cpp"]},
            "organization": TEXT,
            "project": TEXT,
            "api_version": TEXT,
            "model": TEXT,
            "api_key": SECRET,
            "tls": mapping({"ca": TEXT}, required=["ca"]),
            "price": _price(),
            "reasoning": BOOLEAN,
            "logprobs": BOOLEAN,
            "context": whole(1),
            "expect": mapping(
                {
                    "first_token": DURATION,
                    "tokens_per_second": number(0.001),
                    "completion_tokens": number(0),
                }
            ),
            "strip_metadata": BOOLEAN,
            "include_usage": BOOLEAN,
            "in_flight": whole(1),
            "vectors": TEXT,
            "hidden": BOOLEAN,
            "parameters": mapping(
                {"rename": each(TEXT), "drop": _texts(), "allow": _texts()},
            ),
            "profile": {"anyOf": [{"type": "string"}, _profile()]},
        },
        required=["adapter"],
    )


def _price() -> Schema:
    """Dollars per million tokens, or per hour."""
    classes = ("input", "cached_input", "cache_write", "output")
    return mapping({name: number(0) for name in (*classes, "per_hour")})


def _profile() -> Schema:
    return mapping(
        {
            "like": {"type": "string"},
            "latency": mapping({"median": DURATION, "p95": DURATION}),
            "first_token": DURATION,
            "tokens_per_second": number(0.001),
            "error_rate": SHARE,
            "answers": TEXT,
            "completion_tokens": whole(0),
            "reasoning_tokens": whole(0),
            "reasoning_per_prompt_token": number(0),
            "logprobs": BOOLEAN,
            "faults": {"anyOf": [{"type": "string"}, {"type": "array"}]},
            "fault_rate": SHARE,
            "speed": {"anyOf": [{"const": "instant"}, {"type": "number", "exclusiveMinimum": 0}]},
            "seed": whole(0),
        }
    )


def _texts() -> Schema:
    return {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}


_ADDRESS: Schema = {"type": "string", "pattern": r":\d{1,5}$", "examples": ["127.0.0.1:8080"]}
