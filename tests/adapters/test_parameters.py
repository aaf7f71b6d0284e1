"""Parameters one model takes and another refuses: renamed, dropped, refused, by splicing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kinds.openai import costly_member
from adapters.parameters import (
    COSTLY,
    NO_RULES,
    REASONING,
    Parameters,
    adapted,
    decode_parameters,
)
from pointsman.decoding import Findings, Section
from pointsman.document import parse


def test_a_limit_is_renamed_and_what_is_not_taken_is_dropped() -> None:
    body = b'{"model":"auto", "max_tokens" : 5, "temperature": 0.20 ,"messages":[],"top_p":1}'
    after, changed = adapted(body, REASONING)
    assert after == b'{"model":"auto", "max_completion_tokens" : 5, "messages":[]}'
    assert changed == ("max_tokens", "temperature", "top_p")


def test_the_new_name_wins_where_both_stand() -> None:
    after, changed = adapted(b'{"max_tokens":5,"max_completion_tokens":7}', REASONING)
    assert after == b'{"max_completion_tokens":7}'
    assert changed == ("max_tokens",)


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[{"role":"user","content":"\\"temperature\\": 1"}]}',
        b'{"messages":[{"temperature":1,"max_tokens":2}]}',
        b'{"metadata":{"top_p":"1"}}',
        b"{}",
    ],
)
def test_only_members_of_the_top_level_count(body: bytes) -> None:
    assert adapted(body, REASONING) == (body, ())


def test_a_name_spelt_with_escapes_is_found() -> None:
    after, changed = adapted(b'{"temperatur\\u0065":1,"a":2}', REASONING)
    assert (json.loads(after), changed) == ({"a": 2}, ("temperature",))


@given(
    st.dictionaries(
        st.sampled_from(["model", "max_tokens", "max_completion_tokens", *REASONING.drop, "x", ""]),
        st.integers() | st.text() | st.lists(st.integers(), max_size=2) | st.none(),
    )
)
def test_nothing_but_the_named_members_changes(members: dict[str, Any]) -> None:
    after, changed = adapted(json.dumps(members).encode(), REASONING)
    expected = {name: value for name, value in members.items() if name not in REASONING.drop}
    if "max_tokens" in expected:
        value = expected.pop("max_tokens")
        expected.setdefault("max_completion_tokens", value)
    assert json.loads(after) == expected
    assert set(changed) == set(members) & {"max_tokens", *REASONING.drop}


@pytest.mark.parametrize("name", COSTLY)
def test_what_nobody_allowed_is_found(name: str) -> None:
    assert costly_member(b'{"model":"m","%b":null}' % name.encode(), COSTLY) == name
    hidden = name[:1] + f"\\u{ord(name[1]):04x}" + name[2:]
    assert costly_member(b'{"model":"m","%b":1}' % hidden.encode(), COSTLY) == name
    assert costly_member(b'{"model":"m","%b":1}' % name.encode(), ()) is None


@pytest.mark.parametrize("body", [b'{"a":{"priority":1}}', b'{"a":"\\"priority\\":1"}', b"[", b"5"])
def test_other_bodies_are_let_through(body: bytes) -> None:
    assert costly_member(body, COSTLY) is None


def decoded(text: str, **options: Any) -> tuple[Parameters, Findings]:
    findings = Findings()
    section = Section(parse(text, "config.yaml"), findings, "backend 'b'")
    parameters = decode_parameters(section, **options)
    section.done()
    return parameters, findings


def test_the_names_come_from_the_configuration() -> None:
    text = "parameters: {rename: {max_tokens: limit}, drop: [seed], allow: [priority]}"
    parameters, findings = decoded(text, default=REASONING, refusable=("priority", "lora"))
    assert parameters == Parameters((("max_tokens", "limit"),), ("seed",), ("lora",))
    assert findings.errors == []


def test_what_is_not_said_stays_as_it_was() -> None:
    parameters, _ = decoded("parameters: {drop: []}", default=REASONING)
    assert parameters == Parameters(REASONING.rename, ())
    assert decoded("{}")[0] == NO_RULES


def test_a_wrong_word_is_named() -> None:
    _, findings = decoded("parameters: {renamed: {}, rename: [a]}")
    assert len(findings.errors) == 2
