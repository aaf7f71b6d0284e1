"""Which heads may be served; the rest of the table stands in test_downstream, over the wire."""

import pytest

from proxy.framing import BESIDE_BYTES_MAX, Refused, check_beside, check_length, read_head
from proxy.heads import Header, RequestHead

HOST = (b"host", b"x")


def read(
    *headers: Header, method: bytes = b"POST", target: bytes = b"/v1/x", version: str = "1.1"
) -> RequestHead:
    return read_head(method, target, list(headers), version=version, keeps_alive=True)


def status_of(*headers: Header, **named: object) -> int:
    with pytest.raises(Refused) as caught:
        read(*headers, **named)  # type: ignore[arg-type]
    return caught.value.error.status


def test_takes_what_is_well_formed() -> None:
    head = read(HOST, (b"transfer-encoding", b"Chunked"), target=b"/a/../b?c=//d")
    assert (head.path, head.query, head.keeps_alive) == (b"/a/../b", b"?c=//d", True)
    assert read(version="1.0").is_http_10
    assert read(HOST, (b"content-length", b"0"), method=b"GET").method == b"GET"


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "3.0", ""])
def test_speaks_two_versions(version: str) -> None:
    assert status_of(HOST, version=version) == 400


@pytest.mark.parametrize(
    "target", [b"", b"*", b"x", b"http://x/", b"//x/", b"x:443", b"/v1/x?a#b", b"/v1/x#"]
)
def test_wants_a_path(target: bytes) -> None:
    assert status_of(HOST, target=target) == 400


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [HOST, HOST],
        [HOST, (b"transfer-encoding", b"gzip")],
        [HOST, (b"transfer-encoding", b"chunked, chunked")],
        [HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [HOST, (b"content_length", b"5")],
    ],
)
def test_refuses_what_could_be_read_in_two_ways(headers: list[Header]) -> None:
    assert status_of(*headers) == 400


def test_an_old_client_sends_no_chunks_and_needs_no_host() -> None:
    assert status_of((b"transfer-encoding", b"chunked"), version="1.0") == 400
    assert read(version="1.0").headers == []


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("header", [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")])
def test_a_question_has_no_body(method: bytes, header: Header) -> None:
    assert status_of(HOST, header, method=method) == 400


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ((b"content-length", b"101"), 413),
        ((b"content-length", b"99999999999999999999999"), 413),
        ((b"expect", b"something"), 417),
    ],
)
def test_says_early_what_will_not_do(header: Header, status: int) -> None:
    with pytest.raises(Refused) as caught:
        check_length(read(HOST, header), 100)
    assert caught.value.error.status == status


def test_leaves_what_will_do() -> None:
    for header in ((b"content-length", b"100"), (b"expect", b"100-Continue"), (b"a", b"b")):
        check_length(read(HOST, header), 100)
    check_length(read((b"expect", b"something"), version="1.0"), 100)


def test_bounds_what_stands_beside_a_body() -> None:
    check_beside(BESIDE_BYTES_MAX, has_head=False, chunks=0)
    check_beside(BESIDE_BYTES_MAX + 256, has_head=True, chunks=1)
    with pytest.raises(Refused) as caught:
        check_beside(BESIDE_BYTES_MAX + 1, has_head=False, chunks=9)
    assert caught.value.error.status == 431
    with pytest.raises(Refused) as caught:
        check_beside(BESIDE_BYTES_MAX + 257, has_head=True, chunks=1)
    assert caught.value.error.status == 400
