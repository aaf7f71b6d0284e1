"""Base URLs: what is taken apart, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.address import Address, is_loopback, parse_base_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://api.openai.com/v1", Address("https", "api.openai.com", 443, "/v1")),
        ("http://127.0.0.1:8000/v1/", Address("http", "127.0.0.1", 8000, "/v1")),
        ("http://[::1]:8000", Address("http", "::1", 8000, "")),
        ("HTTP://A_b.Example:81/b%20c", Address("http", "a_b.example", 81, "/b%20c")),
    ],
)  # fmt: skip
def test_takes_a_url_apart(url: str, address: Address) -> None:
    assert parse_base_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/v1", "//h/v1", "h:80/v1", "http://", "http:///v1", "http://u@h/v1",
        "http://u:p@h/v1", "http://h/v1?x=1", "http://h/v1?", "http://h/v1#x", "http://h:0/v1",
        "http://h:99999/v1", "http://h:port/v1", "http://2130706433/v1", "http://0177.0.0.1/v1",
        "http://0x7f.0.0.1/v1", "http://127.1/v1", "http://0x7f000001/v1", "http://1.2.3.4.5/v1",
        "http://127.0.0.1./v1", "http://h/v1/../admin", "http://h/%2e%2e/x", "http://h/./v1",
        "http://h//v1", "http://h/v 1", "http://h\\x/v1", "http://h/v1\r\nx: y", "http://-h/v1",
        "http://h..x/v1", "http://[fe80::1%25eth0]/v1", "http://[::1/v1", "http://ex\u0430mple/v1",
    ],
)  # fmt: skip
def test_refuses_what_could_mean_something_else(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_base_url(url)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for url in (text, "http://" + text):
        try:
            address = parse_base_url(url)
        except ValueError:
            continue
        assert 1 <= address.port <= 65535
        assert address.path_prefix == "" or address.path_prefix.startswith("/")


def test_loopback_is_known_by_its_spelling() -> None:
    assert is_loopback("127.8.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("localhost.example")
