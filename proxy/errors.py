"""Errors the proxy itself answers with; the table of WIRE section 3.

    DownstreamError        status, type, code, param; `closes` where the connection cannot go on

They are written in the shape of the API that was called: OpenAI's, or Anthropic's on its paths.

Nothing of the client's input, no traceback and no version is ever reflected.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec

from adapters.answer_reader import AnswerReader
from adapters.responses_reader import ResponsesReader

Shape = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class DownstreamError:
    """One answer of ours. `headers` come on top of the usual ones."""

    status: int
    type: str
    code: str | None
    message: str
    param: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    closes: bool = False

    def body(self, shape: Shape = "openai", request_id: str = "") -> bytes:
        """The JSON of the answer; in OpenAI's shape all four members are present.

        Anthropic's repeats the answer's `request_id`.
        """
        if shape == "anthropic":
            return anthropic_json(self.message, self.status, request_id)
        return error_json(self.message, type=self.type, code=self.code, param=self.param)


def error_json(message: str, *, type: str, code: str | None, param: str | None = None) -> bytes:
    """`{"error": {...}}` as OpenAI writes it."""
    error = {"message": message, "type": type, "param": param, "code": code}
    return msgspec.json.encode({"error": error})


def anthropic_json(message: str, status: int, request_id: str = "") -> bytes:
    """`{"type": "error", "error": {...}}` as Anthropic writes it; the status names its type."""
    named = ANTHROPIC_TYPES.get(status)
    if named is None:
        named = "invalid_request_error" if status < 500 else "api_error"
    told: dict[str, object] = {"type": "error", "error": {"type": named, "message": message}}
    if request_id:
        told["request_id"] = request_id
    return msgspec.json.encode(told)


ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""https://docs.anthropic.com/en/api/errors; their 529 is our 503."""

INVALID = "invalid_request_error"
SERVER = "server_error"
NO_RETRY = ((b"x-should-retry", b"false"),)


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> DownstreamError:
    """400: the request cannot be understood."""
    return DownstreamError(400, INVALID, code, message, param)


def framing(message: str) -> DownstreamError:
    """400 for HTTP that we refuse; the connection closes."""
    return DownstreamError(400, INVALID, "bad_request", message, closes=True)


def invalid_key() -> DownstreamError:
    """401, the same words whatever was wrong with the key."""
    message = "Incorrect API key provided."
    return DownstreamError(401, INVALID, "invalid_api_key", message)


def model_not_found() -> DownstreamError:
    """404 for a model name that is no route, no backend and fits no `match.model`."""
    message = "The model does not exist or you do not have access to it; see GET /v1/models."
    return DownstreamError(404, INVALID, "model_not_found", message)


def unknown_url() -> DownstreamError:
    """404 for a path that is not served."""
    message = "Unknown request URL. Please check the URL for typos."
    return DownstreamError(404, INVALID, "unknown_url", message)


def decision_not_found() -> DownstreamError:
    """404 for an id that is no decision's, or another caller's."""
    message = "No decision with this id is kept."
    return DownstreamError(404, INVALID, "decision_not_found", message)


def response_not_found() -> DownstreamError:
    """404 for the id of a response that was made for another caller."""
    return DownstreamError(404, INVALID, "response_not_found", "No response has this id.")


def previous_response_not_found() -> DownstreamError:
    """400 for going on from such a response; OpenAI's own code."""
    message = "The previous response was not found."
    return invalid(message, param="previous_response_id", code="previous_response_not_found")


def method_not_supported(allowed: bytes) -> DownstreamError:
    """405 with the methods that are."""
    message = "Not allowed to use this method on this URL."
    headers = ((b"allow", allowed),)
    return DownstreamError(405, INVALID, "method_not_supported", message, headers=headers)


def too_slow() -> DownstreamError:
    """408: the header or body did not arrive in time."""
    message = "The request did not arrive in time."
    return DownstreamError(408, INVALID, "request_timeout", message, closes=True)


def too_large(limit_bytes: int) -> DownstreamError:
    """413: the body is over `limits.body`."""
    message = f"The request body is larger than {limit_bytes} bytes."
    return DownstreamError(413, INVALID, "request_too_large", message, closes=True)


def unsupported_encoding() -> DownstreamError:
    """415: a compressed request body."""
    message = "Send the request body without content-encoding."
    return DownstreamError(415, INVALID, "unsupported_encoding", message)


def expectation_failed() -> DownstreamError:
    """417: an Expect other than 100-continue."""
    message = "Only 'Expect: 100-continue' is understood."
    return DownstreamError(417, INVALID, "bad_request", message, closes=True)


def headers_too_large() -> DownstreamError:
    """431: the header block, a target or the number of headers is over its limit."""
    message = "The request header is too large."
    return DownstreamError(431, INVALID, "headers_too_large", message, closes=True)


def overloaded() -> DownstreamError:
    """503: `limits.in_flight` is reached."""
    message = "Too many requests in flight; try again shortly."
    return _try_later("overloaded", message)


def too_many_of_key() -> DownstreamError:
    """429: `limits.in_flight_per_key` is reached."""
    message = "Too many requests in flight with this key; try again shortly."
    headers = ((b"retry-after", b"1"),)
    return DownstreamError(429, "requests", "rate_limit_exceeded", message, headers=headers)


def no_backend(why: str) -> DownstreamError:
    """503: no backend can be used for this request."""
    return _try_later("no_backend", f"No backend can serve this request: {why}")


def capture_unavailable() -> DownstreamError:
    """503 under `fail_closed`: the record cannot be kept."""
    return _try_later("capture_unavailable", "The request cannot be recorded right now.")


def lookup_unavailable() -> DownstreamError:
    """503: the keeper, who knows earlier requests, did not answer."""
    return _try_later("lookup_unavailable", "Earlier requests cannot be looked up right now.")


def upstream_error(why: str) -> DownstreamError:
    """502: the backend's last try failed."""
    message = f"The backend failed: {why}"
    return DownstreamError(502, SERVER, "upstream_error", message, None, NO_RETRY)


def upstream_auth() -> DownstreamError:
    """502: the backend refuses the credential that this proxy has for it."""
    message = "The backend refused the proxy's own credential."
    return DownstreamError(502, SERVER, "upstream_auth", message, None, NO_RETRY)


def internal() -> DownstreamError:
    """500: a defect of ours; the log has it."""
    message = "The proxy failed to handle this request."
    return DownstreamError(500, SERVER, "internal_error", message)


def deadline_exceeded(which: str) -> DownstreamError:
    """504: a time limit passed before the first byte."""
    message = f"No answer within the {which} time limit."
    return DownstreamError(504, SERVER, "deadline_exceeded", message, None, NO_RETRY)


def _try_later(code: str, message: str) -> DownstreamError:
    headers = ((b"retry-after", b"1"),)
    return DownstreamError(503, SERVER, code, message, headers=headers)


CUT_MESSAGE = "The backend broke off in the middle of its answer."
_CUT_DATA = b"data: %b\n\n" % error_json(CUT_MESSAGE, type=SERVER, code="upstream_cut")


def cut_data(reader: AnswerReader) -> bytes:
    """The event that ends a cut stream of plain `data:` lines."""
    return _CUT_DATA


_CUT_EVENT = b"event: error\ndata: %b\n\n" % anthropic_json(CUT_MESSAGE, 500)


def cut_event(reader: AnswerReader) -> bytes:
    """The event that ends a cut stream of Anthropic's."""
    return _CUT_EVENT


def cut_response(reader: AnswerReader) -> bytes:
    """The event that ends a cut stream of the Responses API, numbered behind its last one."""
    number = reader.next_sequence_number if isinstance(reader, ResponsesReader) else 0
    members = {"type": "error", "code": "upstream_cut", "message": CUT_MESSAGE, "param": None}
    return b"event: error\ndata: %b\n\n" % msgspec.json.encode(
        {**members, "sequence_number": number}
    )
