import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import redaction
from telemetry.redaction import RedactionRefused, Redactor, may_hold

MASKED = [
    ("mail jane.doe+x@example.co.uk now", "mail <EMAIL_1> now"),
    ("call (555) 123-4567.", "call <PHONE_1>."),
    ("call +49 30 1234567", "call <PHONE_1>"),
    ("card 4111 1111 1111 1111 ok", "card <CARD_1> ok"),
    ("pay DE89 3704 0044 0532 0130 00", "pay <IBAN_1>"),
    ("ssn 123-45-6789", "ssn <SSN_1>"),
    ("key sk-abcdefghijklmnop1234", "key <KEY_1>"),
    ("from 192.168.1.77 and", "from <IP_1> and"),
    ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2Q", "<JWT_1>"),
]
KEPT = [
    "payoff 1,250.10 as of today",
    "$123,456.78 due 2026-11-24",
    "loan 1234567890123456 (no card: fails its check)",
    "version 1.2.3.400",
    "order DE12 3456 7890 1234 5678 90",
    "at 12:30:45",
    "escrow 1234.56 and 99 more",
    "0000000000000000",
]


@pytest.mark.parametrize(("text", "masked"), MASKED)
def test_what_is_personal_is_masked(text, masked):
    assert Redactor().text(text) == masked


@pytest.mark.parametrize("text", KEPT)
def test_amounts_dates_and_numbers_stay(text):
    assert Redactor().text(text) == text


def test_the_same_value_has_the_same_placeholder():
    redactor = Redactor()
    asked = redactor.value([{"role": "user", "content": "a@b.com, c@d.com or (555) 123-4567"}])
    assert asked == [{"role": "user", "content": "<EMAIL_1>, <EMAIL_2> or <PHONE_1>"}]
    assert redactor.text("It is A@b.com, 555-123-4567") == "It is <EMAIL_1>, <PHONE_1>"
    assert redactor.found == {"EMAIL": 3, "PHONE": 2}


def test_images_and_keys_are_left_alone():
    value = {"a@b.com": "data:image/png;base64,sk-abcdefghijklmnop1234"}
    assert Redactor().value(value) == value
    assert Redactor().value(5) == 5


def test_a_list_of_personal_data_is_refused(monkeypatch):
    monkeypatch.setattr(redaction, "PLACEHOLDERS_MAX", 3)
    with pytest.raises(RedactionRefused):
        Redactor().text(" ".join(f"u{n}@example.com" for n in range(5)))


@given(st.text())
def test_masking_twice_changes_nothing_more(text):
    once = Redactor().text(text)
    assert Redactor().text(once) == once


@pytest.mark.parametrize("text", [text for text, _ in MASKED])
def test_the_quick_look_misses_nothing(text):
    assert may_hold(text.encode())
    assert not may_hold(b"The payoff is $1,250.10 as of today")


@given(
    st.lists(
        st.sampled_from([*(text for text, _ in MASKED), "\u0661", "é", "\n", " ", "5", "-", "."])
    )
)
def test_what_is_masked_is_never_missed_by_the_quick_look(pieces):
    text = "".join(pieces)
    redactor = Redactor()
    redactor.text(text)
    if redactor.found:
        assert may_hold(msgspec.json.encode([text]))


def test_a_text_that_only_begins_like_an_image_is_masked():
    picture = "data:image/png;base64,iVBORw0KGgo="
    assert Redactor().value(picture) == picture
    assert Redactor().value("data: write to bob@example.com") == "data: write to <EMAIL_1>"
    assert Redactor().value(f"{picture} bob@example.com") == f"{picture} <EMAIL_1>"
