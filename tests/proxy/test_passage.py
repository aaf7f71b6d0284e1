"""Paths that pass through: which they are, and that none can be read in two ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heads import RequestHead
from proxy.listening import Passthrough
from proxy.passage import by_id_methods, checked_path, passage_of, rule_for

RULES = (
    Passthrough("/v1/files*", "a"),
    Passthrough("/v1/batches", "b"),
    Passthrough("/v1/files/special", "b"),
)


def head(method: bytes, target: bytes) -> RequestHead:
    return RequestHead(method, target, [], is_http_10=False, keeps_alive=True)


@pytest.mark.parametrize(
    ("path", "backend"),
    [
        ("/v1/files", "a"),
        ("/v1/files/f-1/content", "a"),
        ("/v1/files/special", "a"),
        ("/v1/batches", "b"),
        ("/v1/batches/b-1", None),
        ("/v1/file", None),
        ("/v2/files", None),
    ],
)
def test_the_first_rule_that_fits_is_taken(path: str, backend: str | None) -> None:
    found = rule_for(path, RULES)
    assert (found and found.backend) == backend


@pytest.mark.parametrize(
    ("path", "checked"),
    [
        (b"/v1/files/f-1", b"/v1/files/f-1"),
        (b"/v1/models/ft:gpt-4:org::id", b"/v1/models/ft:gpt-4:org::id"),
        (b"/v1/files/a%20b", b"/v1/files/a%20b"),
        (b"/v1/files/%66", b"/v1/files/f"),
        (b"/v1/files/\xc3\xa9", b"/v1/files/%C3%A9"),
        (b"/v1/files/..", None),
        (b"/v1/files/%2e%2E/x", None),
        (b"/v1/files/.", None),
        (b"/v1/files//x", None),
        (b"/v1/files/", None),
        (b"/v1/files/a%2fb", None),
        (b"/v1/files/a%5Cb", None),
        (b"/v1/files/a\\b", None),
        (b"/v1/files/a%00", None),
        (b"/v1/files/a%0d%0aX:", None),
        (b"/v1/files/a%252e", None),
        (b"/v1/files/a;b", b"/v1/files/a;b"),
        (b"/v1", b"/v1"),
        (b"/", None),
        (b"/v2/files", None),
        (b"v1/files", None),
    ],
)
def test_a_path_is_put_together_from_checked_pieces(path: bytes, checked: bytes | None) -> None:
    assert checked_path(path) == checked


@given(st.binary(max_size=30))
def test_no_path_says_more_than_its_pieces(rest: bytes) -> None:
    checked = checked_path(b"/v1/files/" + rest)
    if checked is not None:
        assert checked.startswith(b"/v1/files/")
        assert checked.isascii()
        assert checked.decode().isprintable()
        assert not {b"", b".", b".."} & set(checked[1:].split(b"/"))
        assert not set(b' \\?#"<>') & set(checked)
        assert checked_path(checked) == checked


@pytest.mark.parametrize(
    ("target", "methods"),
    [
        (b"/v1/responses/r", b"GET, DELETE"),
        (b"/v1/responses/r/cancel", b"POST"),
        (b"/v1/responses/r/input_items", b"GET"),
        (b"/v1/responses/r/other", b""),
        (b"/v1/responses/", b""),
        (b"/v1/responses", b""),
        (b"/v1/files/r", b""),
    ],
)
def test_what_is_served_under_a_responses_id(target: bytes, methods: bytes) -> None:
    assert by_id_methods(target) == methods
    for method in (b"GET", b"POST", b"DELETE", b"PUT"):
        found = passage_of(head(method, target), ())
        assert (found is not None) == (method in methods.split(b", "))
        if found is not None:
            assert (found.api, found.backend, found.response_id) == ("responses", None, "r")


def test_whatever_else_is_listed_passes_with_any_method() -> None:
    found = passage_of(head(b"PUT", b"/v1/files/x?a=b"), RULES)
    assert found == ("passthrough", b"/v1/files/x", "a", None)
    assert passage_of(head(b"PUT", b"/v1/files/../x"), RULES) is None
    rules = (Passthrough("/v1/responses/*", "a"),)
    assert passage_of(head(b"POST", b"/v1/responses/compact"), rules) is not None
