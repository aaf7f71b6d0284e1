"""What must hold for any bytes, with a second reader as judge where there is one.

    events     adapters/sse.py, proxy/relay.py, every endpoint's reader of answers; judged by a
               reader that follows the HTML standard's text
    requests   every endpoint's reader of requests; the only error it knows is RequestError
    splicing   adapters/splice.py; judged by Python's json
    framing    proxy/request_reader.py; judged by h11

A target raises AssertionError where something does not hold. Its first bytes say how the rest
is cut into reads.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import h11
import httptools

from adapters import splice
from adapters.sse import EventBuffer, event_data, split_events
from policies.request import RequestError
from proxy.endpoints import ENDPOINTS, Endpoint
from proxy.framing import Refused
from proxy.heads import RequestHead
from proxy.relay import hide_in_events, hide_logprobs, without_done
from proxy.request_reader import RequestReader

CUTS = 3
BODY_BYTES_MAX = 1000
Request = tuple[bytes, bytes, bytes]


def pieces_of(data: bytes) -> tuple[bytes, list[bytes]]:
    """What the input is about, whole and as it is read."""
    places, rest = data[:CUTS], data[CUTS:]
    edges = sorted(place * (len(rest) + 1) // 256 for place in places)
    starts, ends = [0, *edges], [*edges, len(rest)]
    return rest, [rest[a:b] for a, b in zip(starts, ends, strict=True) if b > a]


# -- events ----------------------------------------------------------------------------------


def events(data: bytes) -> None:
    """However a stream is read, the same events pass, and no byte is changed."""
    stream, pieces = pieces_of(data)
    buffer = EventBuffer()
    passed = [buffer.feed(piece) for piece in pieces]
    held = buffer.rest()
    assert b"".join(passed) + held == stream
    assert b"".join(split_events(stream)) == stream
    datas = [event_data(event) for event in split_events(stream)]
    told = [one for one in datas if one is not None]
    if b"\r" not in stream:
        assert told == standard_data(stream)
    _read_on_the_side(passed, held)
    _hide(stream)


def standard_data(stream: bytes) -> list[bytes]:
    """The data of every event, also of one that was not ended (LF alone).

    A byte order mark may stand before any event: who reads one event cannot know it is not first.
    """
    found: list[bytes] = []
    lines: list[bytes] = []
    is_first = True
    for line in [*stream.split(b"\n"), b""]:
        line = line.removeprefix(b"\xef\xbb\xbf") if is_first else line
        is_first = line == b""
        name, colon, value = line.partition(b":")
        if line == b"" and lines:
            found.append(b"\n".join(lines))
            lines = []
        elif name == b"data" and colon:
            lines.append(value.removeprefix(b" "))
    return found


def _read_on_the_side(passed: list[bytes], held: bytes) -> None:
    for endpoint in ENDPOINTS.values():
        readers = [endpoint.make_reader(1, True), endpoint.make_reader(2, False)]
        for reader in readers:
            for piece in (*passed, held):
                reader.read_events(piece)
            assert reader.is_complete in (True, False)
            assert reader.text is None or isinstance(reader.text, str)
            assert endpoint.cut_event(reader).endswith(b"\n\n")
        assert readers[0].has_data == readers[1].has_data


def _hide(stream: bytes) -> None:
    hidden = hide_in_events(stream, usage=True, logprobs=True)
    assert hide_in_events(hidden, usage=True, logprobs=True) == hidden
    if b'"usage"' not in stream and b'"logprobs"' not in stream:
        assert hidden == stream
    assert len(without_done(stream)) <= len(stream)
    hide_logprobs(stream)


# -- requests --------------------------------------------------------------------------------


def requests(data: bytes) -> None:
    """A body is read, or refused with its reason; nothing else happens."""
    body, _ = pieces_of(data)
    for endpoint in ENDPOINTS.values():
        with suppress(RequestError):
            _read_request(endpoint, body)


def _read_request(endpoint: Endpoint, body: bytes) -> None:
    parsed = endpoint.parse(body)
    features = endpoint.read_features(
        parsed, body_bytes=len(body), label_headers={}, conversation_header=None, caller=None
    )
    assert features.choices >= 1
    assert isinstance(endpoint.prompt_text(parsed), str)
    endpoint.response_schema(parsed)


# -- splicing --------------------------------------------------------------------------------


def splicing(data: bytes) -> None:
    """An edit changes one member and nothing else, or the body is refused."""
    body, _ = pieces_of(data)
    pairs = members_of(body)
    try:
        spans = splice.walk(body)
    except ValueError:
        spans = None
    if spans is not None:
        assert pairs is not None
        assert [name for name, _ in pairs] == list(spans)
        for name, (_, start, end) in spans.items():
            assert same(
                json.loads(body[start:end].decode("utf-8", "surrogateescape")), dict(pairs)[name]
            )
    if pairs is None:
        return
    _edit(body, pairs, splice.set_member, lambda before: {**before, "model": "new"})
    names = [name for name, _ in pairs]
    if names.count("model") == 1:
        _edit(body, pairs, splice.replace_value, lambda before: {**before, "model": "new"})
    if splice.is_absent(body, "model"):
        assert "model" not in names


def _edit(
    body: bytes,
    pairs: list[tuple[str, Any]],
    make: Callable[[bytes, str, bytes], splice.Edit],
    expected: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    try:
        edited = splice.apply_one(body, make(body, "model", b'"new"'))
    except ValueError:
        return  # refused
    after = members_of(edited)
    assert after is not None
    assert [name for name, _ in after].count("model") == 1
    assert same(dict(after), expected(dict(pairs)))


def members_of(body: bytes) -> list[tuple[str, Any]] | None:
    """The members of a JSON object, doubles kept; None where a strict reader refuses it."""
    try:
        text = body.decode("utf-8", "surrogateescape")  # odd bytes in strings travel on as they are
        found = json.loads(text, object_pairs_hook=Members, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return list(found) if isinstance(found, Members) else None


class Members(list[tuple[str, Any]]):
    """An object as json reads it, told apart from an array."""


def _refuse(word: str) -> None:
    raise ValueError(word)


def same(one: Any, other: Any) -> bool:
    """Whether two values read the same: by their text, so that 1.0 and 1 differ."""
    return repr(_plain(one)) == repr(_plain(other))


def _plain(value: Any) -> Any:
    if isinstance(value, Members):
        value = dict(value)
    if isinstance(value, dict):
        return sorted((name, _plain(inner)) for name, inner in value.items())
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


# -- framing ---------------------------------------------------------------------------------


class Owner:
    """Takes what the reader hands over."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def head_read(self, head: RequestHead) -> bool:
        """Every body is wanted."""
        return True

    def body_read(self, data: bytes) -> None:
        """No body is streamed here."""
        raise AssertionError("streamed")

    def request_read(self, head: RequestHead, body: bytes) -> None:
        """One more."""
        self.requests.append((head.method, head.path + head.query, body))


def framing(data: bytes) -> None:
    """However bytes are read the same requests come out, and h11 reads the same."""
    stream, pieces = pieces_of(data)
    whole, whole_error = requests_of([stream])
    cut, cut_error = requests_of(pieces)
    assert whole == cut, (whole, cut)
    assert (whole_error is None) == (cut_error is None), (whole_error, cut_error)
    judged = h11_requests_of(stream)
    both = min(len(whole), len(judged))
    assert whole[:both] == judged[:both], (whole, judged)


def requests_of(pieces: list[bytes]) -> tuple[list[Request], str | None]:
    """What our reader makes of it, and how it ended."""
    owner = Owner()
    reader = RequestReader(owner)
    reader.body_bytes_max = BODY_BYTES_MAX
    try:
        for piece in pieces:
            reader.feed(piece)
    except Refused as refused:
        return owner.requests, str(refused.error.status)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        return owner.requests, type(error).__name__
    return owner.requests, None


def h11_requests_of(stream: bytes) -> list[Request]:
    """The same by another reader, up to what it refuses."""
    found: list[Request] = []
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(stream)
    try:
        while isinstance(head := connection.next_event(), h11.Request):
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += event.data
            if not isinstance(event, h11.EndOfMessage):
                break
            found.append((head.method, head.target, bytes(body)))
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
    except h11.ProtocolError:
        pass
    return found


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "events": events,
    "requests": requests,
    "splicing": splicing,
    "framing": framing,
}
