"""`adapter: azure`: OpenAI's models on Azure. The protocol is OpenAI's; its addresses are not.

`model` is the deployment's name. With `api_version: 2024-10-21` the deployment stands in the path
and every request carries that version; without it the newer paths below `/openai/v1` are used,
which need none (`api_version: preview` asks for what is new there). The key goes in `api-key`.
What Azure adds to answers (content filter results, a first chunk without choices,
`apim-request-id`) passes as it is.
"""

import re
from dataclasses import replace
from urllib.parse import quote

from adapters.backend import Backend
from adapters.declared import Declared
from adapters.headers import Header, HeaderRule
from pointsman.decoding import text
from pointsman.document import Node

from . import openai

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_OF_DEPLOYMENTS = (
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/images/",
    "/audio/",
)
"""What lies below a deployment; files, batches, responses lie beside them."""

TO_DOWNSTREAM = HeaderRule(
    openai.DOWNSTREAM_NAMES | {b"apim-request-id", b"x-ms-region", b"x-ms-deployment-name"},
    openai.DOWNSTREAM_PREFIXES,
)


def read(declared: Declared) -> Backend:
    """`api_version`, besides what every server has."""
    section = declared.section
    version = section.read("api_version", _version)
    return declared.server().with_own(version, openai.read_parameters(section))


def credentials(backend: Backend) -> tuple[Header, ...]:
    """The key in Azure's own header."""
    if backend.api_key is None:
        return ()
    return ((b"api-key", backend.api_key.reveal().encode()),)


def locate(backend: Backend, path: str) -> str:
    """Below a deployment, beside it, or below the newer `/openai/v1`."""
    prefix = backend.path_prefix.removesuffix("/v1").removesuffix("/openai") + "/openai"
    version = backend.own
    if not isinstance(version, str) or not _DATED.fullmatch(version):
        query = "?api-version=preview" if version == "preview" else ""
        return f"{prefix}/v1{path}{query}"
    if path.startswith(_OF_DEPLOYMENTS):
        path = f"/deployments/{quote(backend.model, safe='')}{path}"
    return f"{prefix}{path}?api-version={version}"


def _version(node: Node) -> str:
    value = text(node)
    if value not in ("v1", "preview") and not _DATED.fullmatch(value):
        raise ValueError(f"expected a dated version as 2024-10-21, v1 or preview, not {value!r}")
    return value


ADAPTER = replace(
    openai.ADAPTER,
    read=read,
    credentials=credentials,
    locate=locate,
    to_downstream=TO_DOWNSTREAM,
)
