import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.glob import example, fits
from policies.matching import LabelIndex, MatchEntry, ModelIndex, covering
from policies.words import Match

MODELS = st.lists(st.sampled_from(["a", "b", "ab", "a*", "*b", "?", "*"]), max_size=2).map(tuple)
VALUES = st.lists(st.sampled_from(["x", "y", "x*", "xz*", "*", "?z"]), min_size=1, max_size=2).map(
    tuple
)
MATCH = st.builds(
    lambda models, labels: Match(models, tuple(labels.items())),
    MODELS,
    st.dictionaries(st.sampled_from(["task", "app"]), VALUES, max_size=2),
)
REQUEST = st.tuples(
    st.sampled_from(["a", "b", "ab", "c", "cb"]),
    st.dictionaries(st.sampled_from(["task", "app"]), st.sampled_from(["x", "y", "xz", "q"])),
)


def entries_of(matches):
    return [MatchEntry(order, f"r{order}", match) for order, match in enumerate(matches)]


def plainly_fits(match, model, labels):
    """The rule itself, without an index."""
    return (not match.models or any(fits(pattern, model) for pattern in match.models)) and all(
        name in labels and any(fits(value, labels[name]) for value in values)
        for name, values in match.labels
    )


@given(st.lists(MATCH, max_size=6), REQUEST)
def test_index_finds_the_first_match_that_fits(matches, request):
    model, labels = request
    found = ModelIndex(entries_of(matches), ("b", "c")).first(model, labels)
    expected = [i for i, match in enumerate(matches) if plainly_fits(match, model, labels)]
    assert (found.order if found else None) == (expected[0] if expected else None)


@given(st.lists(MATCH, max_size=4), MATCH, REQUEST)
def test_covered_match_takes_nothing_that_is_left(matches, later, request):
    model, labels = request
    earlier = [(f"r{i}", match) for i, match in enumerate(matches)]
    if covering(earlier, later) is not None and plainly_fits(later, model, labels):
        assert any(plainly_fits(match, model, labels) for match in matches)


def test_covering_names_the_routes_that_leave_nothing():
    earlier = [("one", Match(("a*",))), ("two", Match(("b",))), ("three", Match(("c",)))]
    assert covering(earlier, Match(("ab", "b"))) == ["one", "two"]
    assert covering(earlier, Match(("ab", "d"))) is None


def test_match_with_fewer_labels_covers_one_with_more():
    wide, narrow = Match(("a",)), Match(("a",), (("task", ("x",)),))
    assert covering([("wide", wide)], narrow) == ["wide"]
    assert covering([("narrow", narrow)], wide) is None


def test_label_patterns_cover_only_when_every_value_is_taken():
    taker = Match((), (("task", ("x*",)),))
    assert covering([("taker", taker)], Match((), (("task", ("xa", "x")),))) == ["taker"]
    assert covering([("taker", taker)], Match((), (("task", ("xa", "y")),))) is None


def test_known_names_are_indexed_literal_or_fit_a_pattern():
    index = ModelIndex(entries_of([Match(("gpt-*", "o3")), Match()]), ("auto",))
    assert index.is_known("auto")
    assert index.is_known("o3")
    assert index.is_known("gpt-9")
    assert not index.is_known("claude")
    assert index.literals == {"o3"}


@pytest.mark.parametrize("pattern", ["t{}", "t{}-*", "t{}-?"])
def test_labels_that_must_begin_with_a_word_are_looked_up(pattern):
    tries = []

    class Counted(MatchEntry):
        def fits_labels(self, labels):
            tries.append(self.order)
            return super().fits_labels(labels)

    matches = [Match((), (("task", (pattern.format(i),)),)) for i in range(500)]
    index = LabelIndex(Counted(i, f"r{i}", match) for i, match in enumerate(matches))
    value = example(pattern.format(499))
    assert index.first({"task": value}).name == "r499"
    assert tries[-1] == 499
    assert len(tries) <= 3  # t4 and t49 begin t499 too


def test_entry_says_what_it_is():
    assert repr(MatchEntry(3, "extract", Match())) == "MatchEntry(3, 'extract')"
