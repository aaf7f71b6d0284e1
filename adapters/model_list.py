"""What a server says of its models: `GET /v1/models`, read off the request path.

OpenAI announces there when a model will be shut down (`shutdown_date`, openai-openapi 2.3.0); other
servers say nothing of it, which is no fault. Asked now and then, once a server, in bounded time
and size.
"""

import asyncio
import datetime as dt
import ssl

import msgspec

from .backend import Backend
from .registry import find_adapter

ANSWER_S_MAX = 5.0
BODY_BYTES_MAX = 4 << 20  # OpenAI's list is 20 KB


class _Model(msgspec.Struct):
    id: str
    shutdown_date: str | None = None


class _Models(msgspec.Struct):
    data: list[_Model] = []


_decode = msgspec.json.Decoder(_Models).decode


class ModelsUnknown(Exception):
    """The server did not give its list; the message says why, without its secrets."""


def shutdown_dates(body: bytes) -> dict[str, dt.date]:
    """The announced ends in a list of models, by model. Raises ModelsUnknown."""
    try:
        models = _decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelsUnknown(f"its list of models cannot be read: {error}") from None
    dates = {model.id: _date(model.shutdown_date) for model in models}
    return {model: date for model, date in dates.items() if date is not None}


async def ask_shutdown_dates(backend: Backend) -> dict[str, dt.date]:
    """Ask a backend's server which of its models end when. Raises ModelsUnknown."""
    adapter = find_adapter(backend.adapter)
    host = f"[{backend.host}]" if backend.host and ":" in backend.host else backend.host
    url = f"{backend.scheme}://{host}:{backend.port}{adapter.locate(backend, '/models')}"
    headers = [*adapter.credentials(backend), *adapter.to_upstream.kept(())]
    named = {name.decode(): value.decode("latin-1") for name, value in headers}
    try:
        context = ssl.create_default_context(cafile=backend.ca_file)
        async with asyncio.timeout(ANSWER_S_MAX):
            return shutdown_dates(await _get(url, named, context))
    except TimeoutError:
        raise ModelsUnknown(f"no answer within {ANSWER_S_MAX:g} s") from None
    except OSError as error:
        raise ModelsUnknown(str(error) or type(error).__name__) from None


async def _get(url: str, headers: dict[str, str], context: ssl.SSLContext) -> bytes:
    import aiohttp  # 120 ms, for what most processes never do

    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=headers, ssl=context, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise ModelsUnknown(f"it answered {answer.status}")
            body = b""
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > BODY_BYTES_MAX:
                    raise ModelsUnknown("its list of models has no end")
            return body
    except aiohttp.ClientError as error:
        raise ModelsUnknown(str(error) or type(error).__name__) from None


def _date(text: str | None) -> dt.date | None:
    try:
        return None if text is None else dt.date.fromisoformat(text[:10])
    except ValueError:
        return None
