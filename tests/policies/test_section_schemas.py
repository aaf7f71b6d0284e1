"""The schema of the whole file against the rooms that read it: each key, both ways."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from adapters.registry import adapter_names
from pointsman import decoding
from pointsman.document import ListNode, MapNode, Node
from pointsman.errors import ConfigError
from policies.json_schema import config_json_schema
from proxy import configuration
from proxy.configuration import parse_configuration
from tests.support.papers import blocks

ROOT = Path(__file__).parents[2]
SCHEMA = config_json_schema()
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)
SAMPLE = ROOT / "docs" / "configuration.md"
URLS = {"azure": "https://x.openai.azure.com", "anthropic": "https://api.anthropic.com/v1"}
Path_ = tuple[str, ...]


def sample() -> dict[str, Any]:
    """The documents' file with every word, and a backend of every adapter besides."""
    (example, *_) = blocks(SAMPLE, "yaml")
    data: dict[str, Any] = yaml.safe_load(example.text)
    for name in adapter_names():
        data["backends"][f"of-{name}"] = {"adapter": name}
        if not name.startswith("simulated"):
            url = URLS.get(name, "https://x.example/v1")
            data["backends"][f"of-{name}"] |= {
                "base_url": url, "parameters": {"drop": ["x"]}, "tls": {"ca": "ca.pem"},
            }  # fmt: skip
    data["alarms"]["webhook"] = {"env": "HOOK"}
    data["listen"] = {"address": "127.0.0.1:1", "tls": {"certificate": "c", "key": "k"}}
    return data


def problems(data: object) -> list[str]:
    """What the loader says of it."""
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    try:
        parse_configuration(text, file=ROOT / "config.yaml", environment={})
    except ConfigError as error:
        return [problem.message for problem in error.problems]
    return []


# -- what a schema knows --------------------------------------------------------------------


def variants(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema with its references and alternatives followed."""
    if "$ref" in schema:
        yield from variants(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
        return
    yield schema
    for word in ("anyOf", "oneOf"):
        for inner in schema.get(word, ()):
            yield from variants(inner)


def below(schema: Any, key: str) -> list[Any]:
    """The schemas of what stands under `key`; none where it is not known."""
    found = []
    for one in variants(schema):
        known = one.get("properties", {}).get(key)
        if known is not None:
            found.append(known)
        elif any(re.search(p, key) for p in one.get("patternProperties", {})):
            found += one["patternProperties"].values()
        elif isinstance(one.get("additionalProperties"), dict):
            found.append(one["additionalProperties"])
        elif key == "[]" and "items" in one:
            found.append(one["items"])
    return found


def at(path: Path_) -> list[Any]:
    """The schemas at a path from the root."""
    schemas: list[Any] = [SCHEMA]
    for key in path:
        schemas = [inner for schema in schemas for inner in below(schema, key)]
    return schemas


def paths(schema: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Every key a schema names; what is free to choose is taken from the sample."""
    for one in variants(schema):
        for key, inner in one.get("properties", {}).items():
            yield (*path, key)
            yield from paths(inner, (*path, key))
        free = one.get("additionalProperties")
        if isinstance(free, dict) and path in (("backends",), ("routes",), ("checks",)):
            yield from paths(free, (*path, "*"))
        if "items" in one:
            yield from paths(one["items"], (*path, "[]"))


# -- what the loader reads --------------------------------------------------------------------


def places(node: Node, path: Path_ = ()) -> Iterator[tuple[int, Path_]]:
    """Every mapping of a document by its identity."""
    if isinstance(node, MapNode):
        yield id(node), path
        for key, inner in node.items.items():
            yield from places(inner, (*path, key))
    elif isinstance(node, ListNode):
        for inner in node.items:
            yield from places(inner, (*path, "[]"))


def read_by_the_loader(data: object, monkeypatch: pytest.MonkeyPatch) -> set[Path_]:
    """Every key that was asked for, with where."""
    asked: list[tuple[int, str]] = []
    roots: list[Node] = []
    original_node, original_parse = decoding.Section.node, configuration.parse

    def node(self: decoding.Section, key: str) -> object:
        asked.append((id(self._node), key))
        return original_node(self, key)

    def parse(text: str, file: str) -> Node:
        roots.append(original_parse(text, file))
        return roots[-1]

    with monkeypatch.context() as patched:
        patched.setattr(decoding.Section, "node", node)
        patched.setattr(configuration, "parse", parse)
        problems(data)
    found = dict(places(roots[0]))
    return {(*found[place], key) for place, key in asked if place in found}


def test_every_key_a_room_reads_is_in_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    read = read_by_the_loader(sample(), monkeypatch)
    assert ("backends", "of-azure", "api_version") in read
    assert ("routes", "extract", "probes", "[]", "world", "in_flight") in read
    assert {path for path in read if not at(path)} == set()


def test_every_key_of_the_schema_is_read_by_a_room(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sample()
    read = read_by_the_loader(data, monkeypatch)
    names = {"backends": data["backends"], "routes": data["routes"], "checks": data["checks"]}
    known = set()
    for path in read:
        is_named = len(path) > 1 and path[0] in names
        known.add((path[0], "*", *path[2:]) if is_named else path)
    assert {path for path in paths(SCHEMA) if path not in known} == set()


def test_an_unknown_key_is_refused_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sample()
    for path in read_by_the_loader(data, monkeypatch):
        holder = data
        for key in path[:-1]:
            holder = holder[0] if key == "[]" else holder[key]
        if not isinstance(holder, dict) or any(
            isinstance(one.get("additionalProperties"), dict)
            for schema in at(path[:-1])
            for one in variants(schema)
        ):
            continue
        before = len(list(VALIDATOR.iter_errors(data)))
        holder["no_such_word"] = 1
        assert len(list(VALIDATOR.iter_errors(data))) > before, path
        del holder["no_such_word"]


def test_the_documents_files_fit() -> None:
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    (example, *_) = blocks(SAMPLE, "yaml")
    for data in (shipped, yaml.safe_load(example.text)):
        assert [error.message for error in VALIDATOR.iter_errors(data)] == []


@pytest.mark.parametrize(
    "top",
    [
        {"listen": 8080},
        {"listen": {"tls": {}}},
        {"admin": {"address": "127.0.0.1:1", "token": "written out"}},
        {"capture": {"durability": "maybe"}},
        {"capture": {"keep": 30}},
        {"limits": {"body": "20 MiBs"}},
        {"limits": {"in_flight": 0}},
        {"keys": {}},
        {"alarms": {"token": {"env": "A"}}},
        {"passthrough": [{"path": "/files", "backend": "a"}]},
        {"backends": {"a": {"adapter": "openai", "base_url": "ftp://x/v1"}}},
        {"backends": {"a": {"adapter": "simulated", "profile": {"error_rate": 0.1}}}},
        {"backends": {"a": {"adapter": "simulated", "price": {"input": "$3"}}}},
    ],
)
def test_what_a_room_refuses_does_not_fit(top: dict[str, Any]) -> None:
    base = {
        "backends": {"a": {"adapter": "simulated"}},
        "routes": {"default": {"candidates": ["a"]}},
    }
    assert VALIDATOR.is_valid(base)
    assert problems(base) == []
    data = {**base, **top}
    assert not VALIDATOR.is_valid(data)
    assert problems(data)
