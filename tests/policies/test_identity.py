from policies.identity import LABELS_MAX, TASK_BYTES_KEPT, conversation_of, read_labels, task_of


def test_headers_win_over_metadata_and_names_are_in_lower_case() -> None:
    assert read_labels({"team": "a"}, {"Team": "b", "City": "c"}) == ({"team": "a", "city": "c"}, 0)


def test_what_is_no_label_is_counted() -> None:
    odd = {"": "x", "long": "x" * 129, "number": 5, "x" * 129: "y"}
    assert read_labels({}, odd) == ({}, 4)
    assert read_labels({}, "text") == ({}, 0)
    many = {str(number): "x" for number in range(LABELS_MAX + 2)}
    labels, ignored = read_labels({}, many)
    assert (len(labels), ignored) == (LABELS_MAX, 2)


def test_parts_are_told_apart_by_their_borders() -> None:
    assert task_of(b"ab", b"c") != task_of(b"a", b"bc")
    assert conversation_of(None, "ab", b"c", b"") != conversation_of(None, "a", b"bc", b"")


def test_a_long_task_is_hashed_alike_though_not_remembered() -> None:
    long = b"x" * (TASK_BYTES_KEPT + 1)
    assert task_of(long, b"") == task_of(long, b"")
    assert len(task_of(long, b"")) == len(task_of(b"x", b""))


def test_a_conversation_is_the_headers_word_or_a_digest_where_that_is_long() -> None:
    assert conversation_of("talk-1", None, b"", b"") == "talk-1"
    assert len(conversation_of("x" * 129, None, b"", b"")) == 32
