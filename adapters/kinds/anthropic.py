"""`adapter: anthropic`: Anthropic's own protocol, `/v1/messages` and `/v1/messages/count_tokens`.

Bytes go through as they came but for the model's name. The key goes in `x-api-key`; a client
that names no `anthropic-version` gets the one that every SDK sends. Usage is part of every
answer, so nothing needs to be asked for or hidden.
"""

from typing import Final

from adapters import splice
from adapters.adapter import Adapter
from adapters.backend import Backend
from adapters.declared import Declared
from adapters.edits import Edited, Wanted
from adapters.headers import Header, HeaderRule
from adapters.parameters import NO_RULES, Parameters, adapted, decode_parameters
from pointsman.decoding import boolean

REASONING: Final = Parameters(drop=("temperature", "top_p", "top_k"))
"""Models that always think refuse to be sampled otherwise (platform.claude.com, Sonnet 5)."""
BASE_URL: Final = "https://api.anthropic.com/v1"
VERSION: Final = b"2023-06-01"

TO_UPSTREAM: Final = HeaderRule(
    frozenset(
        {
            b"content-type",
            b"accept",
            b"anthropic-version",
            b"anthropic-beta",
            b"idempotency-key",
            b"traceparent",
        }
    ),
    (b"x-stainless-",),
    defaults=((b"anthropic-version", VERSION),),
)
TO_DOWNSTREAM: Final = HeaderRule(
    frozenset(
        {
            b"content-type",
            b"content-encoding",
            b"request-id",
            b"x-request-id",
            b"retry-after",
            b"x-should-retry",
            b"x-pointsman-simulated",
        }
    ),
    (b"anthropic-ratelimit-",),
)


def read(declared: Declared) -> Backend:
    """What every server has; `base_url` is Anthropic's own where it is left out."""
    section = declared.section
    backend = declared.server(default_url=BASE_URL)
    default = REASONING if section.read("reasoning", boolean, False) else NO_RULES
    return backend.with_own(None, decode_parameters(section, default=default))


def credentials(backend: Backend) -> tuple[Header, ...]:
    """The key in Anthropic's own header."""
    if backend.api_key is None:
        return ()
    return ((b"x-api-key", backend.api_key.reveal().encode()),)


def locate(backend: Backend, path: str) -> str:
    """Every API lies under the base URL, with or without the version at its end."""
    return f"{backend.path_prefix.removesuffix('/v1')}/v1{path}"


def edit(backend: Backend, body: bytes, wanted: Wanted) -> Edited:
    """The model's name, and the parameters of a model the client did not name."""
    names: tuple[str, ...] = ()
    if wanted.model_asked != backend.model:
        model = splice.json_text(backend.model)
        body = splice.apply_one(body, splice.replace_value(body, "model", model))
        names = ("model",)
    else:
        splice.refuse_twice(body, "model")
    rules = backend.parameters
    if (rules.rename or rules.drop) and wanted.is_moved_to(backend):
        body, changed = adapted(body, rules)
        names += changed
    if backend.strip_metadata and (edit := splice.remove_member(body, "metadata")):
        body = splice.apply_one(body, edit)
        names += ("metadata",)
    return Edited(body, names)


ADAPTER = Adapter(
    protocol="anthropic",
    read=read,
    credentials=credentials,
    locate=locate,
    to_upstream=TO_UPSTREAM,
    to_downstream=TO_DOWNSTREAM,
    edit=edit,
)
