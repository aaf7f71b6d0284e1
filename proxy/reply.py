"""Requests that no backend sees and no record is kept of: the model list, health, and errors
for what is not a recordable request."""

import time
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import msgspec

from telemetry.ids import new_id

from . import errors
from .downstream import DownstreamProtocol
from .endpoints import ENDPOINTS, shape_for
from .errors import DownstreamError
from .heads import RequestHead, header_lines, response_head
from .passage import by_id_methods

if TYPE_CHECKING:
    from .server import DataPlane

MODELS_PATH = b"/v1/models"
DECISIONS_PREFIX = b"/v1/decisions/"
FEEDBACK_PATH = b"/v1/feedback"
ALLOWED = {
    MODELS_PATH: b"GET",
    FEEDBACK_PATH: b"POST",
    **dict.fromkeys(ENDPOINTS, b"POST"),
    b"/healthz": b"GET",
    b"/readyz": b"GET",
}


class Reply:
    """One such request; answers as soon as its turn comes."""

    keeps_body = False
    streams_body = False

    def __init__(
        self,
        plane: "DataPlane",
        client: DownstreamProtocol,
        head: RequestHead,
        error: DownstreamError | None = None,
    ) -> None:
        self._plane = plane
        self._client = client
        self._head = head
        self._error = error

    def begin(self, body: bytes) -> None:
        """Answer."""
        if self._error is not None:
            self.refuse(self._error)
            return
        found = self._content()
        if isinstance(found, DownstreamError):
            self.refuse(found)
        else:
            self.answer(*found)

    def answer(self, status: int, content: object) -> None:
        """Answer with JSON."""
        self._write(status, [], msgspec.json.encode(content))

    def refuse(self, error: DownstreamError) -> None:
        """Answer with an error; the connection goes on unless the error closes it."""
        if error.status == 413 and self._error is not None:
            error = self._error  # a wrong key is told before a body that nobody reads
        self._plane.refused(error)
        if error.closes:
            self._client.closes = True
        request_id = f"req_{new_id().replace('-', '')}"
        headers = list(error.headers)
        shape = shape_for(self._head.path)
        if shape == "anthropic":
            headers.append((b"request-id", request_id.encode()))
        self._write(error.status, headers, error.body(shape, request_id), request_id)

    def client_gone(self) -> None:
        """Nothing was under way."""

    def pause(self) -> None:
        """An answer here is small and already written."""

    def resume(self) -> None:
        """Nothing was paused."""

    def _content(self) -> tuple[int, object] | DownstreamError:
        path, method = self._head.path, self._head.method
        allowed = allowed_methods(path)
        if allowed is None:
            return errors.unknown_url()
        if method != allowed:
            return errors.method_not_supported(allowed)
        if path == b"/healthz":
            return 200, {"status": "ok"}
        if path == b"/readyz":
            readiness = self._plane.readiness
            return (200 if readiness == "ready" else 503), {"status": readiness}
        if path == MODELS_PATH:
            return 200, {"object": "list", "data": [_model(name) for name in self._names()]}
        return self._one_model(path[len(MODELS_PATH) + 1 :])

    def _one_model(self, name: bytes) -> tuple[int, object] | DownstreamError:
        text = unquote_to_bytes(name).decode("utf-8", "replace")  # a name may hold a slash
        return (200, _model(text)) if text in self._names() else errors.model_not_found()

    def _names(self) -> tuple[str, ...]:
        return self._plane.wiring.policy.listed_models()

    def _write(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        request_id: str | None = None,
    ) -> None:
        request_id = request_id or f"req_{new_id().replace('-', '')}"
        headers = [
            (b"content-type", b"application/json"),
            (b"x-request-id", request_id.encode()),
            *headers,
        ]
        closes = self._client.closes_behind(self._head)
        head = response_head(
            status,
            header_lines(headers),
            date=self._plane.date,
            length=len(body),
            head=self._head,
            closes=closes,
        )
        self._client.write(head if self._head.method == b"HEAD" else head + body)
        self._client.response_done(keeps_alive=not closes)


def allowed_methods(path: bytes) -> bytes | None:
    """What a path is served with, as `Allow` lists it; None where it is not served."""
    return own_method(path) or by_id_methods(path) or None


def own_method(path: bytes) -> bytes | None:
    """The method of what is answered here or routed by policy; None for other paths."""
    is_model = path.startswith(MODELS_PATH + b"/") and len(path) > len(MODELS_PATH) + 1
    is_decision = path.startswith(DECISIONS_PREFIX) and len(path) > len(DECISIONS_PREFIX)
    return b"GET" if is_model or is_decision else ALLOWED.get(path)


def _model(name: str) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": int(time.time()) // 86400 * 86400,
        "owned_by": "pointsman",
    }
