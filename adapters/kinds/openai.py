"""`adapter: openai`: api.openai.com, vLLM, llama.cpp, and whatever else speaks that protocol.

`server: openai | vllm | llama.cpp` says which; left out, api.openai.com is known by its name and
any other host is taken to be one of the open servers. They differ where they give more than they
were asked for (WIRE section 10): some members of a request make a server of one's own spend
far more on it, and are refused unless the backend's `parameters: {allow: [NAME]}` names them; an
image's address may name a file of the server's own disk, and is then refused always. The
differences of their answers (integer error codes, comments, usage in every chunk) pass as
they are.
"""

import re
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET

from adapters import splice
from adapters.adapter import Adapter, RequestRefused
from adapters.backend import Backend
from adapters.connection import ResponseHead
from adapters.content_coding import decoded
from adapters.declared import Declared
from adapters.edits import Edited, Wanted
from adapters.headers import Header, HeaderRule
from adapters.parameters import (
    COSTLY,
    NO_RULES,
    NOTHING_COSTLY,
    REASONING,
    Parameters,
    adapted,
    decode_costly,
    decode_parameters,
)
from pointsman.decoding import Section, boolean, choice, text
from pointsman.document import Node

OPENAI_HOST: Final = "api.openai.com"
SERVERS: Final = ("openai", "vllm", "llama.cpp")

TO_UPSTREAM: Final = HeaderRule(
    frozenset({b"content-type", b"accept", b"idempotency-key", b"traceparent"}),
    (b"openai-", b"x-stainless-"),
    never=frozenset({b"openai-organization", b"openai-project"}),
)
DOWNSTREAM_NAMES: Final = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"x-request-id",
        b"openai-processing-ms",
        b"openai-version",
        b"openai-model",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
        b"x-pointsman-simulated",
    }
)
DOWNSTREAM_PREFIXES: Final = (b"x-ratelimit-",)
TO_DOWNSTREAM: Final = HeaderRule(DOWNSTREAM_NAMES, DOWNSTREAM_PREFIXES)

ALTERNATIVES: Final = b"1"
"""`top_logprobs` beside our `logprobs`. llama.cpp answers 20 alternatives a token where it is
absent, and no logprobs at all for 0."""
USAGE_OPTION: Final = b'{"include_usage":true}'
_MODEL_ONLY: Final = ("model",)
_ADDRESS_KEYS: Final = (b'"image_url"', b'"url"')
_ADDRESS: Final = re.compile(rb'[ \t\r\n]*:[ \t\r\n]*"')
_REMOTE: Final = re.compile(rb"(?:https?:\\?/|data:)", re.IGNORECASE)
_LOADING: Final = re.compile(rb'"(?:Loading model|unavailable_error)"')


class Own(NamedTuple):
    """What only this adapter reads of a backend."""

    has_local_files: bool
    """The server might open a file that a request names."""
    credentials: tuple[Header, ...] = ()
    """`organization` and `project`."""


def read(declared: Declared) -> Backend:
    """`server`, `organization`, `project` and `parameters`, besides what every server has."""
    section = declared.section
    backend = declared.server()
    usual = "openai" if backend.host == OPENAI_HOST else None
    server = section.read("server", choice(*SERVERS), usual)
    own_machine = server != "openai"
    headers = tuple(
        (b"openai-" + name.encode(), value.encode("ascii", "ignore"))
        for name in ("organization", "project")
        if (value := section.read(name, _header_text)) is not None
    )
    return backend.with_own(
        Own(own_machine, headers),
        read_parameters(section, refusable=COSTLY if own_machine else ()),
    )


def read_parameters(section: Section, *, refusable: tuple[str, ...] = ()) -> Parameters:
    """The `parameters` of a backend; `reasoning: true` brings its own."""
    is_reasoning = section.read("reasoning", boolean, False)
    default = REASONING if is_reasoning else NO_RULES
    return decode_parameters(section, default=default, refusable=refusable)


def credentials(backend: Backend) -> tuple[Header, ...]:
    """The key as OpenAI wants it, and whose account pays."""
    own = backend.own.credentials if isinstance(backend.own, Own) else ()
    if backend.api_key is None:
        return own
    return ((b"authorization", b"Bearer " + backend.api_key.reveal().encode()), *own)


def locate(backend: Backend, path: str) -> str:
    """Every API lies under the base URL."""
    return backend.path_prefix + path


def edit(backend: Backend, body: bytes, wanted: Wanted) -> Edited:
    """The model's name, the usage of a stream, logprobs, parameters; nothing else."""
    check(backend, body)
    names: tuple[str, ...] = ()
    if wanted.model_asked != backend.model:
        model = splice.json_text(backend.model)
        body = splice.apply_one(body, splice.replace_value(body, "model", model))
        names = _MODEL_ONLY
    else:
        splice.refuse_twice(body, "model")
    rules = backend.parameters
    if (rules.rename or rules.drop) and wanted.is_moved_to(backend):
        body, changed = adapted(body, rules)
        names += changed
    hides_usage = False
    if wanted.is_stream and not wanted.includes_usage and backend.include_usage:
        usage_edit = _usage_edit(body)
        if usage_edit is not None:
            body = splice.apply_one(body, usage_edit)
            names += ("stream_options.include_usage",)
            hides_usage = True
    if wanted.adds_logprobs:
        body = splice.apply_one(body, splice.set_member(body, "logprobs", b"true"))
        body = splice.apply_one(body, splice.set_member(body, "top_logprobs", ALTERNATIVES))
        names += ("logprobs", "top_logprobs")
    if backend.strip_metadata and (edit := splice.remove_member(body, "metadata")):
        body = splice.apply_one(body, edit)
        names += ("metadata",)
    return Edited(body, names, hides_usage, wanted.adds_logprobs)


def check(backend: Backend, body: bytes) -> None:
    """Raise RequestRefused for what this backend's operator has not allowed."""
    if backend.parameters.refuse:
        name = costly_member(body, backend.parameters.refuse)
        if name is not None:
            message = f"Unsupported parameter: '{name}' is not allowed for this model."
            raise RequestRefused(message, param=name, code="unsupported_parameter")
    if isinstance(backend.own, Own) and backend.own.has_local_files and names_a_file(body):
        message = "An image must be given as an http, https or data URL."
        raise RequestRefused(message, param="messages", code="invalid_image_url")


def costly_member(body: bytes, names: tuple[str, ...]) -> str | None:
    """The first of `names`, all of them of `COSTLY`, that is a member of `body`."""
    try:
        found = decode_costly(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the backend says what it thinks of that
    if found == NOTHING_COSTLY:
        return None
    return next((name for name in names if getattr(found, name) is not UNSET), None)


def names_a_file(body: bytes) -> bool:
    """Whether an image's address is anything but an http, https or data URL.

    Told by a search: a quote inside JSON text is escaped, so these keys are keys.
    """
    if b"\\" in body and b"\\u00" in body and _names_a_file(_plainly_spelt(body)):
        return True
    return _names_a_file(body)


def _names_a_file(body: bytes) -> bool:
    if body.rfind(_ADDRESS_KEYS[0]) < 0:  # a third of the time of `in`
        return False
    for key in _ADDRESS_KEYS:
        found = body.find(key)
        while found >= 0:
            address = _ADDRESS.match(body, found + len(key))
            if address is not None and _REMOTE.match(body, address.end()) is None:
                return True
            found = body.find(key, found + len(key))
    return False


def _plainly_spelt(body: bytes) -> bytes:
    """The same JSON with no letter hidden in an escape."""
    try:
        return msgspec.json.encode(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return body


def is_loading(head: ResponseHead, body: bytes) -> bool:
    """llama.cpp answers 503 until its model is in memory: not ready, which is no failure."""
    return head.status == 503 and _LOADING.search(decoded(body, head.coding)) is not None


def _usage_edit(body: bytes) -> splice.Edit | None:
    """The edit that asks for usage in a stream, keeping other members of `stream_options`.

    None where `stream_options` is no object: the backend, not we, says what is wrong with it.
    """
    if splice.is_absent(body, "stream_options"):
        return splice.insert_member(body, "stream_options", USAGE_OPTION)
    span = splice.walk(body).get("stream_options")
    if span is None:
        return splice.insert_member(body, "stream_options", USAGE_OPTION)
    _, start, end = span
    options = body[start:end]
    if options == b"null":
        return start, end, USAGE_OPTION
    if not options.startswith(b"{"):
        return None
    options = splice.apply_one(options, splice.set_member(options, "include_usage", b"true"))
    if not splice.is_absent(options, "continuous_usage_stats"):
        # vLLM heeds it only beside include_usage: without ours it would have had no effect.
        edit = splice.set_member(options, "continuous_usage_stats", b"false")
        options = splice.apply_one(options, edit)
    return start, end, options


def _header_text(node: Node) -> str:
    value = text(node)
    if not value.isascii() or not value.isprintable():
        raise ValueError("holds characters no header may carry")
    return value


ADAPTER = Adapter(
    protocol="openai",
    read=read,
    credentials=credentials,
    locate=locate,
    to_upstream=TO_UPSTREAM,
    to_downstream=TO_DOWNSTREAM,
    edit=edit,
    is_loading=is_loading,
)
