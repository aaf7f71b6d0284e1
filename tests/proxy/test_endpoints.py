"""The table of endpoints: every row is whole, and answers in its own words."""

import json

import pytest

from policies.request import RequestError
from proxy.endpoints import ENDPOINTS, Endpoint, shape_for

ROWS = list(ENDPOINTS.values())


def name_of(row: Endpoint) -> str:
    return row.api


def test_no_two_rows_share_a_path_or_a_name() -> None:
    assert [*ENDPOINTS] == [row.path for row in ROWS]
    assert len({row.api for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_request_is_read_to_features_or_refused(row: Endpoint) -> None:
    request = row.parse(b'{"model":"m","stream":false,"metadata":{"team":"a"}}')
    features = row.read_features(
        request, body_bytes=10, label_headers={}, conversation_header=None, caller=None
    )
    assert (features.model, features.labels, features.is_stream) == ("m", {"team": "a"}, False)
    assert row.prompt_text(request) == ""
    assert row.response_schema(request) is None
    for broken in (b"", b"[]", b'{"model":5}', b"\xff", b"[" * 100_000):
        with pytest.raises(RequestError):
            row.parse(broken)


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_cut_stream_ends_with_an_event_that_names_an_error(row: Endpoint) -> None:
    event = row.cut_event(row.make_reader(1, True))
    assert event.endswith(b"\n\n")
    (data,) = [line[6:] for line in event.splitlines() if line.startswith(b"data: ")]
    told = json.loads(data)
    if row.shape == "openai":
        assert "upstream_cut" in (told.get("code"), told.get("error", {}).get("code"))
    else:
        assert (told["type"], told["error"]["type"]) == ("error", "api_error")


def test_a_path_that_is_not_served_has_openais_errors() -> None:
    assert shape_for(b"/v1/nothing") == "openai"
