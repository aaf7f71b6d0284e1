import base64
import http.server
import threading
from contextlib import contextmanager

import pytest

from learning import images
from learning.chat_row import Excluded
from learning.images import data_url, has_remote, with_images

PNG = b"\x89PNG\r\n\x1a\nrest"


@contextmanager
def web(**paths):
    """Serves each path's (status, headers, body) once or more; gives its address and the paths
    asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, headers, body = paths[self.path[1:]]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def part(url):
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def asked_with(url):
    return [{"role": "user", "content": [{"type": "text", "text": "What?"}, part(url)]}]


def test_an_image_is_fetched_once_and_put_in(tmp_path):
    with web(a=(200, {"content-type": "image/png"}, PNG)) as (address, asked):
        messages = asked_with(f"{address}/a")
        assert has_remote(messages)
        found = with_images(messages, tmp_path / "images", private=True)
        again = with_images(messages, tmp_path / "images", private=True)
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert found == again == asked_with(url)
    assert asked == ["/a"]
    assert not has_remote(found)
    assert messages == asked_with(f"{address}/a")


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (404, {"content-type": "image/png"}, PNG),
        (200, {"content-type": "text/html"}, PNG),
        (200, {"content-type": "image/png"}, b"<html>"),
        (200, {"content-type": "image/png"}, PNG + bytes(200)),
        (302, {"location": "file:///etc/passwd"}, b""),
        (302, {"location": "/a"}, b""),
    ],
)
def test_what_is_no_image_or_leads_elsewhere_is_left_out(
    tmp_path, monkeypatch, status, headers, body
):
    monkeypatch.setattr(images, "IMAGE_BYTES_MAX", 100)
    with (
        web(a=(status, headers, body)) as (address, _),
        pytest.raises(Excluded, match="image_unreachable"),
    ):
        data_url(f"{address}/a", tmp_path, private=True)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:1/a", "http://[::1]:1/a", "http://", "https://no.such.name.invalid/a"],
)
def test_an_address_that_leads_nowhere_is_left_out(tmp_path, address):
    with pytest.raises(Excluded, match="image_unreachable"):
        data_url(address, tmp_path, private=True)


def test_a_machine_that_is_not_public_is_not_asked(tmp_path):
    with web(a=(200, {"content-type": "image/png"}, PNG)) as (address, asked):
        with pytest.raises(Excluded, match="image_unreachable"):
            data_url(f"{address}/a", tmp_path)
        assert asked == []


def test_images_that_are_data_and_texts_stay(tmp_path):
    messages = [*asked_with("data:image/png;base64,AA"), {"role": "assistant", "content": "a"}]
    assert not has_remote(messages)
    assert with_images(messages, tmp_path) == messages
    assert list(tmp_path.iterdir()) == []
