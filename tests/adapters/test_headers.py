"""Allow-lists of headers: what is not named stays behind."""

from adapters.headers import HeaderRule

RULE = HeaderRule(
    frozenset({b"accept", b"traceparent"}),
    (b"x-lib-",),
    never=frozenset({b"x-lib-secret"}),
    defaults=((b"version", b"1"),),
)


def test_names_and_beginnings_pass_in_their_order() -> None:
    headers = [(b"x-lib-a", b"1"), (b"cookie", b"c"), (b"accept", b"*/*"), (b"x-lib-secret", b"s")]
    assert RULE.kept(headers) == [(b"x-lib-a", b"1"), (b"accept", b"*/*"), (b"version", b"1")]


def test_what_the_connection_named_is_dropped() -> None:
    kept = RULE.kept([(b"accept", b"*/*"), (b"x-lib-a", b"1")], frozenset({b"accept"}))
    assert kept == [(b"x-lib-a", b"1"), (b"version", b"1")]


def test_a_default_gives_way_to_what_was_said() -> None:
    rule = HeaderRule(frozenset({b"version"}), defaults=((b"version", b"1"),))
    assert rule.kept([(b"version", b"2")]) == [(b"version", b"2")]
    assert rule.lines([]) == b"version: 1\r\n"


def test_a_rule_without_beginnings_has_none() -> None:
    assert HeaderRule(frozenset({b"a"})).kept([(b"a", b"1"), (b"", b"2"), (b"b", b"3")]) == [
        (b"a", b"1")
    ]


def test_lines_are_a_heads() -> None:
    assert RULE.lines([(b"accept", b"*/*")]) == b"accept: */*\r\nversion: 1\r\n"
