import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import envelope
from policies.envelope import (
    TELLING_BYTES_MAX,
    messages,
    plain,
    positive,
    survey,
    texts_of,
    tool_names,
)
from policies.features import parse_chat
from policies.request import NOTHING, RequestError


@given(st.binary(max_size=30))
def test_any_bytes_are_read_or_taken_for_nothing(raw: bytes) -> None:
    value = msgspec.Raw(raw)
    plain(value)
    messages(value)
    survey(value, b'"image"')
    tool_names(value)


def test_bytes_that_are_no_text_are_taken_for_nothing() -> None:
    raw = msgspec.Raw(b'[{"role":"us\x96r","content":"a"}]')
    assert messages(raw) == []
    assert survey(raw, b'"image"') == (b"", b"", False)
    assert tool_names(msgspec.Raw(b'[{"function":{"name":"\x96"}}]')) == (b"", True)


@pytest.mark.parametrize(
    ("value", "count"),
    [(3, 3), (0, None), (-1, None), (True, None), ("3", None), (1 << 31, None), (10**20, None)],
)
def test_a_count_is_a_whole_number_above_zero(value: object, count: int | None) -> None:
    assert positive(value) == count


def test_texts_of_a_content_in_either_form() -> None:
    assert texts_of("a") == ["a"]
    assert texts_of([{"type": "text", "text": "a"}, {"type": "image"}, 5, {"text": 5}]) == ["a"]
    assert texts_of(None) == texts_of({}) == []


def test_tools_old_and_new_have_names() -> None:
    new = msgspec.Raw(b'[{"type":"function","function":{"name":"a"}},{"name":"b"}]')
    old = msgspec.Raw(b'[{"name":"c"}]')
    assert tool_names(new, old) == (b"a\nb\nc", True)
    assert tool_names(NOTHING, old) == (b"c", True)
    assert tool_names(NOTHING) == tool_names(msgspec.Raw(b"[ ]")) == (b"", False)


def test_of_a_long_content_only_the_beginning_and_the_length_tell() -> None:
    def user(text: str) -> bytes:
        raw = msgspec.json.encode([{"role": "user", "content": text}])
        return survey(msgspec.Raw(raw), b'"image_url"')[1]

    long = "a" * (2 * TELLING_BYTES_MAX)
    assert user("a" * 9) == b'"aaaaaaaaa"'
    assert len(user(long)) < TELLING_BYTES_MAX + 10
    assert user(long) != user(long + "a")
    assert user(long) != user("b" + long[1:])
    assert user(long) == user(long[:-1] + "b")


# -- long lists of messages ----------------------------------------------------------------------

CONTENTS = st.text(alphabet='ab{}[]",:\\', max_size=12) | st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": st.text(alphabet="}]{", max_size=4)}),
    max_size=2,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["system", "user", "assistant"]), "content": CONTENTS}
        ),
        max_size=12,
    ),
    st.integers(1, 300),
)
def test_the_start_of_a_long_list_tells_what_all_of_it_does(
    listed: list[dict[str, object]], start_bytes: int
) -> None:
    raw = msgspec.Raw(msgspec.json.encode(listed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envelope, "START_BYTES", start_bytes)
        cut = envelope.first_messages(raw)
    whole = envelope.messages(raw)
    assert [message.role for message in cut] == [message.role for message in whole[: len(cut)]]
    assert len(cut) == len(whole) or any(message.role == "user" for message in cut)


def test_of_a_long_list_only_the_start_is_read() -> None:
    one = b'{"role":"user","content":"x"}'
    raw = msgspec.Raw(b"[%b]" % b",".join([one] * 50_000))
    assert 0 < len(envelope.first_messages(raw)) * len(one) <= envelope.START_BYTES


def test_a_message_longer_than_the_start_is_read_all_the_same() -> None:
    text = "{}" * envelope.START_BYTES
    raw = msgspec.Raw(msgspec.json.encode([{"role": "user", "content": text}]))
    [message] = envelope.first_messages(raw)
    assert msgspec.json.decode(message.content) == text


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"a","messages":[],"\xff":1}',
        b'{"model":"a","messages":["\xe2\x82"]}',
        b'{"model":"a","messages":["%b\xff"]}' % ("\N{EURO SIGN}".encode() * envelope.START_BYTES),
    ],
)
def test_bytes_that_are_no_text_are_no_json(body: bytes) -> None:
    with pytest.raises(RequestError, match="not valid JSON"):
        parse_chat(body)


def test_text_beyond_ascii_is_text_wherever_a_piece_of_it_ends() -> None:
    text = "x\N{EURO SIGN}\N{GRINNING FACE}" * envelope.START_BYTES
    body = msgspec.json.encode({"model": "a", "messages": [{"role": "user", "content": text}]})
    assert parse_chat(body).model == "a"
