"""Images by address in chats: fetched once and put in, or the row is left out.

A client wrote the address, so it is no more trusted than a client: http and https alone, no
machine but public ones (asked of the connection itself, so no name can be turned round), a limit
of size and time, and only what says and looks to be an image. What was fetched is kept under the
address's sha256: the same build finds the same bytes again. `forget` removes all of them.
"""

import base64
import hashlib
import http.client
import ipaddress
import os
import socket
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .chat_row import Excluded

Json = dict[str, object]

FOLDER: Final = "images"
IMAGE_REMOTE: Final = "image_remote"
IMAGE_UNREACHABLE: Final = "image_unreachable"
IMAGE_BYTES_MAX: Final = 10_000_000  # what the hosted trainers take
FETCH_S_MAX: Final = 10.0
SCHEMES: Final = ("http://", "https://")
_MAGIC: Final = {
    "image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff", "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}  # fmt: skip


def is_remote(part: object) -> bool:
    """A part of a message that is an image by its address."""
    return (_address(part) or "").lower().startswith(SCHEMES)


def has_remote(messages: Sequence[Json]) -> bool:
    """Some message holds one."""
    return any(is_remote(part) for message in messages for part in _parts(message))


def with_images(messages: Sequence[Json], folder: Path, *, private: bool = False) -> list[Json]:
    """The messages with their images as data. Raises Excluded.

    `private` allows machines that are not public: for tests.
    """
    return [_with_images(message, folder, private) for message in messages]


def _with_images(message: Json, folder: Path, private: bool) -> Json:
    parts = _parts(message)
    if not any(map(is_remote, parts)):
        return message
    content = [_fetched(part, folder, private) if is_remote(part) else part for part in parts]
    return {**message, "content": content}


def _fetched(part: object, folder: Path, private: bool) -> Json:
    assert isinstance(part, dict)
    image = part["image_url"]
    detail = {k: v for k, v in image.items() if k != "url"} if isinstance(image, dict) else {}
    url = data_url(str(_address(part)), folder, private=private)
    return {**part, "image_url": {"url": url, **detail}}


def data_url(address: str, folder: Path, *, private: bool = False) -> str:
    """The image at `address` as a data URL, from `folder` where it was fetched before."""
    path = folder / hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
    try:
        data = path.read_bytes() if path.is_file() else _keep(path, _fetch(address, private))
    except (OSError, ValueError, http.client.HTTPException):
        raise Excluded(IMAGE_UNREACHABLE) from None
    kind = next((kind for kind, magic in _MAGIC.items() if data.startswith(magic)), None)
    if kind is None:
        raise Excluded(IMAGE_UNREACHABLE)
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _keep(path: Path, data: bytes) -> bytes:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    aside.write_bytes(data)
    aside.replace(path)
    return data


def _fetch(address: str, private: bool) -> bytes:
    """Its bytes. Raises OSError (urllib's errors among them), ValueError."""
    request = urllib.request.Request(address, headers={"accept": "image/*"})
    with _opener(private).open(request, timeout=FETCH_S_MAX) as answer:
        if not str(answer.headers.get("content-type", "")).lower().startswith("image/"):
            raise ValueError("no image")
        data: bytes = answer.read(IMAGE_BYTES_MAX + 1)
    if len(data) > IMAGE_BYTES_MAX:
        raise ValueError("too large")
    return data


def _opener(private: bool) -> urllib.request.OpenerDirector:
    """Of http and https alone, past no proxy, each connection checked."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Http(private),
        _Https(private),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _check_peer(connection: socket.socket, private: bool) -> None:
    host = connection.getpeername()[0].partition("%")[0]
    if not private and not ipaddress.ip_address(host).is_global:
        connection.close()
        raise OSError(f"{host} is not public")


class _PublicConnection(http.client.HTTPConnection):
    is_private_allowed = False

    def connect(self) -> None:
        super().connect()
        _check_peer(self.sock, self.is_private_allowed)


class _PublicTlsConnection(http.client.HTTPSConnection):
    is_private_allowed = False

    def connect(self) -> None:
        super().connect()
        _check_peer(self.sock, self.is_private_allowed)


class _AnyConnection(_PublicConnection):
    is_private_allowed = True


class _AnyTlsConnection(_PublicTlsConnection):
    is_private_allowed = True


class _Http(urllib.request.HTTPHandler):
    def __init__(self, private: bool) -> None:
        super().__init__()
        self._kind = _AnyConnection if private else _PublicConnection

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._kind, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, private: bool) -> None:
        super().__init__()
        self._kind = _AnyTlsConnection if private else _PublicTlsConnection

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._kind, req)


def _parts(message: Json) -> list[object]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _address(part: object) -> str | None:
    image = part.get("image_url") if isinstance(part, dict) else None
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else None
