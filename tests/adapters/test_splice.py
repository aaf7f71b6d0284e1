"""Splicing changes the wanted member and not a byte besides; duplicates do not slip through."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.splice import (
    DuplicateMember,
    Edit,
    apply,
    apply_one,
    insert_member,
    is_absent,
    json_text,
    refuse_twice,
    remove_member,
    replace_value,
    set_member,
    walk,
)

Pairs = list[tuple[str, Any]]

NAMES = ("model", "logprobs", "stream_options", "m", "", "Model", 'a"model"b', "mo\\del", "é🙂")
WHITE = st.text(" \t\r\n", max_size=2)
SCALARS = st.one_of(
    st.sampled_from(["null", "true", "false", "0", "-0", "1", "12", "1.50", "1E+2", "-3e-7"]),
    st.sampled_from(NAMES).map(json.dumps),
    st.text(max_size=6).filter(lambda text: text.isprintable()).map(json.dumps),
    st.sampled_from(['"\\u006dodel"',
                     '"say \\"model\\": 1, \\""', '"\\\\"', '"\\/\\u00e9\\ud83d\\ude42"']),
)  # fmt: skip


@st.composite
def spelt(draw: st.DrawFn, name: str) -> str:
    """A key, some of its letters as escapes."""
    letters = [f"\\u{ord(c):04x}" if draw(st.booleans()) and ord(c) < 65536 else json.dumps(c)[1:-1]
               for c in name]  # fmt: skip
    return f'"{"".join(letters)}"'


KEYS = st.sampled_from(NAMES).flatmap(lambda name: st.just(json.dumps(name)) | spelt(name))


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[str], size_max: int, name: str = "") -> str:
    """The text of an object with white space wherever JSON allows it, perhaps sure of a member."""
    members = draw(st.lists(st.tuples(KEYS, values), max_size=size_max))
    if name:
        key = draw(st.just(json.dumps(name)) | spelt(name))
        members.insert(draw(st.integers(0, len(members))), (key, draw(values)))
    text = ",".join(
        f"{draw(WHITE)}{key}{draw(WHITE)}:{draw(WHITE)}{value}{draw(WHITE)}"
        for key, value in members
    )
    return f"{{{text or draw(WHITE)}}}"


VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        objects(inner, 3) | st.lists(inner, max_size=3).map(lambda i: f"[{', '.join(i)}]")
    ),
    max_leaves=6,
)
BODIES = st.tuples(WHITE, objects(VALUES, 5), WHITE).map(lambda parts: "".join(parts).encode())
WITH_MODEL = objects(VALUES, 4, "model").map(str.encode)


def pairs_of(body: bytes) -> Pairs:
    """Top-level members in order, duplicates kept."""
    found: list[Pairs] = []

    def keep(pairs: Pairs) -> Pairs:
        found.append(pairs)
        return pairs

    json.loads(body, object_pairs_hook=keep)
    return found[-1]  # the outermost object is finished last


def values_of(body: bytes, name: str) -> list[Any]:
    return [value for key, value in pairs_of(body) if key == name]


def edited(body: bytes, edit: Callable[[], Edit | None]) -> bytes | None:
    """The body after an edit; None where the edit refused."""
    try:
        made = edit()
    except DuplicateMember:
        return None
    return body if made is None else apply(body, [made])


@given(WITH_MODEL)
@example(b'{"content": "a\\"model", "\\u006dodel": 1}')
@example(b'{"model": 12, "model": 1}')
def test_replacing_changes_one_value_and_nothing_else(body: bytes) -> None:
    name = "model"
    result = edited(body, lambda: replace_value(body, name, b'{"new":[1]}'))
    if result is None:
        names = [key for key, _ in pairs_of(body)]
        assert len(names) > len(set(names))
        return
    new = [("new", [1])]
    assert pairs_of(result) == [(k, new if k == name else v) for k, v in pairs_of(body)]
    assert len(values_of(result, name)) == 1
    start, end, _ = replace_value(body, name, b"")
    assert json.loads(body[start:end], object_pairs_hook=list) == values_of(body, name)[0]


@given(BODIES | WITH_MODEL, st.sampled_from(["model", "stream_options", "new"]))
def test_setting_replaces_the_member_or_adds_it_in_front(body: bytes, name: str) -> None:
    result = edited(body, lambda: set_member(body, name, b"true"))
    before = pairs_of(body)
    if result is None:
        assert len(before) > len(dict(before))
    elif values_of(body, name):
        assert pairs_of(result) == [(k, True if k == name else v) for k, v in before]
        assert len(values_of(result, name)) == 1
    else:
        assert pairs_of(result) == [(name, True), *before]
        start, end, added = set_member(body, name, b"true")
        assert start == end
        assert result.replace(added, b"", 1) == body


@given(BODIES | WITH_MODEL, st.sampled_from(["model", "m"]))
def test_removing_takes_one_member_and_its_comma(body: bytes, name: str) -> None:
    result = edited(body, lambda: remove_member(body, name))
    before = pairs_of(body)
    if result is None:
        assert len(before) > len(dict(before))
        return
    assert pairs_of(result) == [(k, v) for k, v in before if k != name]
    if not values_of(body, name):
        assert result == body


@given(BODIES)
def test_the_walk_finds_every_member_or_refuses_duplicates(body: bytes) -> None:
    before = pairs_of(body)
    if len(before) > len(dict(before)):
        with pytest.raises(DuplicateMember):
            walk(body)
        return
    spans = walk(body)
    assert list(spans) == [key for key, _ in before]
    for (key, value), (key_start, start, end) in zip(before, spans.values(), strict=True):
        assert json.loads(body[start:end], object_pairs_hook=list) == value
        assert body[key_start:start].rstrip().endswith(b":")
        assert json.loads(body[key_start : body.rindex(b'"', key_start, start) + 1]) == key


@given(WITH_MODEL)
@example(b'{"model": 1, "m": {"model": 2}}')
def test_a_member_that_counts_once_is_not_refused(body: bytes) -> None:
    try:
        refuse_twice(body, "model")
    except DuplicateMember:
        assert len(pairs_of(body)) > len(dict(pairs_of(body)))
    else:
        assert len(values_of(body, "model")) == 1


@given(BODIES, st.sampled_from(NAMES))
def test_a_member_said_to_be_absent_is_nowhere(body: bytes, name: str) -> None:
    if name.isidentifier() and name.isascii() and is_absent(body, name):
        assert not values_of(body, name)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"a"}', b'{"model":"X"}'),
        (b' {\n "model"\t: "a\\"b" ,"n":1.0}\n', b' {\n "model"\t: "X" ,"n":1.0}\n'),
        (b'{"tools":[{"model":"in"}],"model":"a"}', b'{"tools":[{"model":"in"}],"model":"X"}'),
        (b'{"user":"model","model":"a"}', b'{"user":"model","model":"X"}'),
        (b'{"user":"a\\"model","model":"a"}', b'{"user":"a\\"model","model":"X"}'),
        (b'{"mod\\u0065l":"a","n":{"model":1}}', b'{"mod\\u0065l":"X","n":{"model":1}}'),
        (b'{"\\u006dodel":"model"}', b'{"\\u006dodel":"X"}'),
    ],
)  # fmt: skip
def test_replaces_the_top_level_model(body: bytes, expected: bytes) -> None:
    assert apply_one(body, replace_value(body, "model", b'"X"')) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","model":"a"}',
        b'{"model":"a","mod\\u0065l":"b"}',
        b'{"mod\\u0065l":"b","model":"a"}',
        b'{"model":12,"model":1}',
    ],
)
def test_no_second_model_reaches_a_backend(body: bytes) -> None:
    with pytest.raises(DuplicateMember):
        replace_value(body, "model", b'"X"')


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":1}', b"{}"),
        (b'{ "a" : 1 , "b":2}', b'{  "b":2}'),
        (b'{"b":2 , "a":1 }', b'{"b":2  }'),
        (b'{"b":[1,2],"a":{"a":1},"c":3}', b'{"b":[1,2],"c":3}'),
        (b'{"b":{"a":1}}', b'{"b":{"a":1}}'),
        (b"{}", b"{}"),
    ],
)
def test_removes_with_the_comma_of_either_side(body: bytes, expected: bytes) -> None:
    edit = remove_member(body, "a")
    assert (body if edit is None else apply_one(body, edit)) == expected


def test_adds_in_front_also_to_an_empty_object() -> None:
    assert apply_one(b" { }", insert_member(b" { }", "a", b"1")) == b' { "a":1}'
    assert apply_one(b'{"b":2}', insert_member(b'{"b":2}', "a", b"1")) == b'{"a":1,"b":2}'


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b'"model"', b'{"model":', b'{"\xff":1}', b'{"\\ud800":1}', b"[" * 99_999]
)
def test_what_is_no_readable_object_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        walk(body)
    if not body.startswith(b"{"):
        with pytest.raises(ValueError, match="not a JSON object"):
            insert_member(body, "a", b"1")


def test_applies_several_edits_in_order_of_their_place() -> None:
    assert apply(b"0123456789", [(7, 9, b"B"), (1, 3, b"A"), (5, 5, b"+")]) == b"0A34+56B9"
    assert apply(b"abc", []) == b"abc"
    assert apply_one(b"abc", (1, 2, b"")) == b"ac"


def test_json_text_escapes() -> None:
    assert json.loads(json_text('a"\\é\n')) == 'a"\\é\n'
