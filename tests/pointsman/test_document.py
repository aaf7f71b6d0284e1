"""The YAML reader: YAML 1.2's scalars, a position for everything, no way to hurt the process."""

import time
from collections.abc import Iterator

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from pointsman.decoding import plain
from pointsman.document import (
    DEPTH_MAX,
    TEXT_BYTES_MAX,
    ListNode,
    MapNode,
    Node,
    Position,
    Scalar,
    ScalarNode,
    parse,
    resolve_scalar,
)
from pointsman.errors import ConfigError, Problem


def refusal(text: str) -> Problem:
    """The one problem `text` is refused with."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml")
    (problem,) = caught.value.problems
    return problem


def value_of(text: str) -> Scalar:
    """The value of the key `a` in `text`."""
    root = parse(text, "f.yaml")
    assert isinstance(root, MapNode)
    node = root.items["a"]
    assert isinstance(node, ScalarNode)
    return node.value


def walk(node: Node) -> Iterator[Node]:
    yield node
    children = node.items.values() if isinstance(node, MapNode) else ()
    if isinstance(node, ListNode):
        children = node.items
    for child in children:
        yield from walk(child)


# -- scalars -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True), ("True", True), ("FALSE", False),
        ("yes", "yes"), ("NO", "NO"), ("off", "off"), ("y", "y"),
        ("null", None), ("~", None), ("", None),
        ("1", 1), ("-7", -7), ("+3", 3), ("007", 7), ("1_000", "1_000"),
        ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("-2.5E-1", -0.25),
        ("1:30", "1:30"), ("12:30:45", "12:30:45"), ("2026-01-01", "2026-01-01"),
        ("0x1F", "0x1F"), ("0o17", "0o17"), (".inf", ".inf"), (".nan", ".nan"), ("1e999", "1e999"),
        ("200ms", "200ms"), ("$0.004", "$0.004"), ("5%", "5%"), ("+0.5pp", "+0.5pp"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_yaml_1_2(written: str, value: Scalar) -> None:
    found = value_of(f"a: {written}\n")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("style", ['"{}"', "'{}'", "|-\n  {}", ">-\n  {}"])
@pytest.mark.parametrize("word", ["true", "12", "1.5", "null"])
def test_a_quoted_scalar_is_text(style: str, word: str) -> None:
    assert value_of("a: " + style.format(word)) == word


def test_text_is_kept_as_written() -> None:
    node = parse("1.10", "f.yaml")
    assert isinstance(node, ScalarNode)
    assert (node.text, node.value) == ("1.10", 1.1)


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_every_whole_number_is_read_back(number: int) -> None:
    assert resolve_scalar(str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_back(number: float) -> None:
    assert resolve_scalar(repr(number)) == number


# -- positions ---------------------------------------------------------------------------------


def test_each_node_and_key_knows_its_line_and_column() -> None:
    root = parse("a: 1\nlonger:\n  - x\n  - {k: v}\n", "dir/f.yaml")
    assert isinstance(root, MapNode)
    assert root.keys == {
        "a": Position("dir/f.yaml", 1, 1),
        "longer": Position("dir/f.yaml", 2, 1),
    }
    assert root.items["a"].at == Position("dir/f.yaml", 1, 4)
    items = root.items["longer"]
    assert isinstance(items, ListNode)
    assert [item.at.line for item in items.items] == [3, 4]
    inner = items.items[1]
    assert isinstance(inner, MapNode)
    assert inner.keys["k"].column == 6
    assert inner.items["k"].at.column == 9


IDENTIFIERS = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)


@given(st.lists(IDENTIFIERS, min_size=1, max_size=20, unique=True))
def test_a_generated_mapping_keeps_its_order_and_lines(keys: list[str]) -> None:
    root = parse("".join(f"{key}: v\n" for key in keys), "f.yaml")
    assert isinstance(root, MapNode)
    assert list(root.items) == keys
    assert [root.keys[key].line for key in keys] == list(range(1, len(keys) + 1))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("abc :#-'\"\n", max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(IDENTIFIERS, inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_what_another_library_wrote_is_read_as_it_was_meant(data: object) -> None:
    if data is None:
        return  # an empty document, refused below
    assert plain(parse(yaml.safe_dump(data), "f.yaml")) == data


# -- refusals ----------------------------------------------------------------------------------


def test_a_duplicate_key_is_refused_where_it_is_repeated() -> None:
    problem = refusal("a: 1\nb: 2\na: 3\n")
    assert str(problem) == "f.yaml:3:1: 'a' is given twice; first on line 1"


def test_a_duplicate_key_deep_inside_is_refused() -> None:
    assert refusal("r:\n  - {x: 1, x: 2}\n").line == 2


def test_broken_syntax_is_refused_at_its_line() -> None:
    problem = refusal("a: 1\nb: [1, 2\nc: 3\n")
    assert problem.line in (2, 3)
    assert problem.message.startswith("not valid YAML: ")


def test_a_tab_as_indentation_is_refused_at_its_line() -> None:
    assert refusal("a:\n\tb: 1\n").line == 2


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['true']",
        "a: !!python/name:os.system x",
        "a: !!set {b}",
        "a: !!int 5",
        "a: !secret x",
        "a: !secret [x]",
        "!!omap [a: 1]",
    ],
)
def test_a_tag_is_refused_wherever_it_stands(text: str) -> None:
    assert "tags such as" in refusal(text).message


@pytest.mark.parametrize("text", ["? [a]\n: b", "? {a: 1}\n: b", "!!int 5: b"])
def test_a_key_that_is_no_plain_text_is_refused(text: str) -> None:
    assert refusal(text).message == "a key must be plain text"


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_an_empty_file_is_refused(text: str) -> None:
    assert refusal(text).message == "the file is empty"


def test_a_second_document_is_refused() -> None:
    assert refusal("a: 1\n---\nb: 2\n").line == 2


def test_control_characters_are_refused_at_their_line() -> None:
    assert refusal("a: 1\nb: \x07\n").line == 2


def test_an_escape_beyond_unicode_is_refused() -> None:
    assert "not valid YAML" in refusal('a: "\\U00110000"').message


def test_a_file_over_the_size_limit_is_refused_unread() -> None:
    problem = refusal("#" * (TEXT_BYTES_MAX + 1))
    assert str(TEXT_BYTES_MAX) in problem.message


# -- attacks -----------------------------------------------------------------------------------


def test_a_billion_laughs_are_stopped_early() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 12):  # 9 ** 12 values
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]")
    start_s = time.monotonic()
    problem = refusal("\n".join(lines))
    assert "aliases count" in problem.message
    assert time.monotonic() - start_s < 10  # it took 0.2 s; unbounded it would never end


def test_an_alias_of_itself_is_refused() -> None:
    assert "nested" in refusal("&a [*a]").message


def test_an_ordinary_alias_is_expanded() -> None:
    root = parse("x: &one {k: 1}\ny: *one\n", "f.yaml")
    assert isinstance(root, MapNode)
    assert root.items["y"] == root.items["x"]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_nesting_without_end_is_refused(opening: str) -> None:
    assert "nested" in refusal(opening * 5_000).message


def test_nesting_is_accepted_up_to_its_limit_and_not_beyond() -> None:
    def nested(depth: int) -> str:
        return "[" * depth + "x" + "]" * depth

    parse(nested(DEPTH_MAX), "f.yaml")
    assert "nested deeper" in refusal(nested(DEPTH_MAX + 1)).message


YAML_LIKE = st.text(
    st.sampled_from("ab:1 \n\t-?&*![]{}|>'\"%@#,~\\xuU0\x00\ufeff\ud800é"), max_size=60
)


@given(st.text(max_size=200) | YAML_LIKE)
@example("%YAML 1." + "9" * 5_000 + "\n---\na: 1\n")
@example('"\\U00110000"')
@example("a: \ud800")
def test_any_text_is_read_or_refused_with_positions_inside_it(text: str) -> None:
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + 2
    lines += text.count("\u2028") + text.count("\u2029")  # YAML 1.1 breaks lines at these too
    try:
        root = parse(text, "f.yaml")
    except ConfigError as error:
        places = error.problems
        assert all(problem.message for problem in places)
    else:
        places = [node.at.problem("") for node in walk(root)]
    assert places
    assert all(1 <= place.line <= lines and place.column >= 1 for place in places)


def test_a_line_that_is_indented_otherwise_is_asked_about():
    with pytest.raises(ConfigError) as caught:
        parse("a:\n  b: 1\n c: 2\n", "f")
    assert "is this line indented as its neighbours are?" in caught.value.problems[0].message
