"""Decoding a section: all findings of a file in one run, each where it stands, with a way out."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman import decoding
from pointsman.decoding import Findings, Section
from pointsman.document import MapNode, Node, Position, parse
from pointsman.errors import ConfigError


def section(text: str) -> tuple[Section, Findings]:
    """The top mapping of `text`, and where its findings go."""
    findings = Findings()
    return Section(parse(text, "f.yaml"), findings, "the part"), findings


def node(text: str) -> Node:
    return parse(text, "f.yaml")


# -- findings ----------------------------------------------------------------------------------


def test_errors_raise_and_warnings_do_not() -> None:
    findings = Findings()
    findings.warn(Position("f.yaml", 1, 1), "odd")
    findings.raise_if_any()
    findings.error(Position("f.yaml", 9, 1), "second")
    findings.error(Position("f.yaml", 2, 5), "first")
    with pytest.raises(ConfigError) as caught:
        findings.raise_if_any()
    assert [str(problem) for problem in caught.value.problems] == [
        "f.yaml:2:5: first",
        "f.yaml:9:1: second",
    ]


def test_one_run_names_all_faults_of_a_section() -> None:
    part, findings = section("span: 200\nshare: lots\nname: {}\nstray: 1\n")
    assert part.read("span", decoding.duration_s) is None
    assert part.read("share", decoding.share, 0.5) == 0.5
    assert part.read("name", decoding.text) is None
    part.done()
    assert [problem.line for problem in findings.errors] == [1, 2, 3, 4]


# -- sections ----------------------------------------------------------------------------------


def test_an_unknown_key_is_reported_at_its_place_with_the_nearest_known_word() -> None:
    part, findings = section("prefer: cheapest\ncandidate: [a]\n")
    part.read("prefer", decoding.text)
    part.each("candidates", decoding.text)
    part.done()
    (problem,) = findings.errors
    assert (problem.line, problem.column) == (2, 1)
    assert problem.message == "unknown key 'candidate' in the part; did you mean 'candidates'?"


def test_an_unknown_key_far_from_everything_lists_the_few_known_words() -> None:
    part, findings = section("zzz: 1\n")
    part.node("beta")
    part.node("alpha")
    part.done()
    assert findings.errors[0].message.endswith("; known: alpha, beta")


def test_nothing_is_suggested_from_a_long_list_without_a_near_word() -> None:
    assert decoding.nearest("zzz", [f"word{index}" for index in range(13)]) == ""


def test_known_keys_are_not_reported_whether_present_or_not() -> None:
    part, findings = section("a: 1\n")
    part.node("a")
    part.node("b")
    part.done()
    assert findings.errors == []


def test_a_section_that_is_no_mapping_is_one_error_and_reads_as_empty() -> None:
    findings = Findings()
    part = Section(node("[1, 2]"), findings, "route 'x'")
    assert part.keys() == []
    assert part.node("a") is None
    part.done()
    assert [problem.message for problem in findings.errors] == [
        "route 'x' must be a mapping, not a list"
    ]


def test_a_missing_required_key_is_reported_at_the_section() -> None:
    part, findings = section("\n\na: 1\n")
    part.require("a", "b")
    (problem,) = findings.errors
    assert (problem.line, problem.message) == (3, "the part needs 'b'")


def test_a_subsection_is_none_where_missing_and_named_after_its_parent() -> None:
    part, findings = section("inner: text\n")
    assert part.subsection("absent") is None
    part.subsection("inner")
    assert findings.errors[0].message == "the part: inner must be a mapping, not 'text'"


def test_keys_and_positions_are_those_of_the_file() -> None:
    part, _ = section("b: 1\na: 2\n")
    assert part.keys() == ["b", "a"]
    assert list(part) == ["b", "a"]
    assert "a" in part
    assert "c" not in part
    assert part.at_key("a").line == 2
    assert part.at_key("c") == part.at


def test_asking_for_the_keys_marks_none_as_known() -> None:
    part, findings = section("a: 1\n")
    part.keys()
    part.done()
    assert len(findings.errors) == 1


def test_a_single_value_counts_as_a_list_of_one() -> None:
    part, findings = section("one: a\nmany: [a, b]\n")
    assert part.each("one", decoding.text) == ("a",)
    assert part.each("many", decoding.text) == ("a", "b")
    assert part.each("none", decoding.text) == ()
    assert findings.errors == []


def test_a_bad_item_of_a_list_is_reported_at_itself_and_the_rest_is_kept() -> None:
    part, findings = section("spans:\n  - 1s\n  - soon\n  - 2s\n")
    assert part.each("spans", decoding.duration_s) == (1.0, 2.0)
    (problem,) = findings.errors
    assert problem.line == 3
    assert problem.message.startswith("spans: 'soon' is not a duration")


# -- decoders ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decode", "written", "expected"),
    [
        (decoding.text, "1.10", "1.10"),
        (decoding.boolean, "true", True),
        (decoding.number(0, 1), "1", 1.0),
        (decoding.number(0, 1), "0", 0.0),
        (decoding.number(), "-2.5", -2.5),
        (decoding.integer(1, 9), "9", 9),
        (decoding.choice("none", "all"), "all", "all"),
        (decoding.duration_s, "200ms", 0.2),
        (decoding.money_usd, "$0.004", 0.004),
        (decoding.share, "5%", 0.05),
        (decoding.change, "+0.5pp", 0.005),
        (decoding.size_bytes, "20MiB", 20_971_520),
        (decoding.plain, "{a: [1, x, null, {b: 2.5}]}", {"a": [1, "x", None, {"b": 2.5}]}),
    ],
)
def test_a_well_formed_value_is_decoded(
    decode: Callable[[Node], object], written: str, expected: object
) -> None:
    found = decode(node(written))
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("decode", "written", "message"),
    [
        (decoding.text, "~", "expected text, not nothing"),
        (decoding.text, "{a: 1}", "expected text, not a mapping"),
        (decoding.text, "[a]", "expected text, not a list"),
        (decoding.boolean, "yes", "expected true or false, not 'yes'"),
        (decoding.boolean, "'true'", "expected true or false"),
        (decoding.boolean, "1", "expected true or false"),
        (decoding.number(), "true", "expected a number, not 'true'"),
        (decoding.number(), "'1'", "expected a number"),
        (decoding.number(0, 1), "1.5", "1.5 is above 1"),
        (decoding.number(0), "-1", "-1 is below 0"),
        (decoding.integer(), "1.0", "expected a whole number"),
        (decoding.integer(), "true", "expected a whole number"),
        (decoding.integer(1), "0", "0 is below 1"),
        (decoding.choice("full", "off"), "ful", "did you mean 'full'?"),
        (decoding.choice("full", "off"), "[full]", "expected text, not a list"),
        (decoding.duration_s, "200", "is not a duration"),
        (decoding.money_usd, "4", "is not an amount"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_accepted(
    decode: Callable[[Node], object], written: str, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        decode(node(written))


def test_a_default_stands_in_for_a_missing_and_for_a_refused_value() -> None:
    part, findings = section("bad: soon\n")
    assert part.read("absent", decoding.duration_s) is None
    assert part.read("absent", decoding.duration_s, 3.0) == 3.0
    assert findings.errors == []
    assert part.read("bad", decoding.duration_s, 3.0) == 3.0
    assert len(findings.errors) == 1


WORDS = st.lists(
    st.from_regex(r"[a-z]{1,10}", fullmatch=True), min_size=1, max_size=12, unique=True
)


@given(WORDS, WORDS)
def test_exactly_the_keys_nobody_asked_for_are_unknown(
    present: list[str], asked: list[str]
) -> None:
    at = Position("f.yaml", 1, 1)
    names = {name: Position("f.yaml", line, 1) for line, name in enumerate(present, 1)}
    findings = Findings()
    part = Section(MapNode(at, {name: node("v") for name in present}, names), findings, "it")
    for name in asked:
        part.node(name)
    part.done()
    reported = {problem.line for problem in findings.errors}
    assert reported == {names[name].line for name in present if name not in asked}
