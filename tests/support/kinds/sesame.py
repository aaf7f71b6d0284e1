"""`adapter: sesame`: an adapter that stands in this one file, as a test's proof that it may."""

from dataclasses import replace

from adapters.backend import Backend
from adapters.headers import Header
from adapters.kinds import openai


def locate(backend: Backend, path: str) -> str:
    """The model stands in the path."""
    return f"/api/{backend.model}{path}"


def credentials(backend: Backend) -> tuple[Header, ...]:
    """A header of its own."""
    return ((b"x-secret", b"open sesame"),)


ADAPTER = replace(openai.ADAPTER, locate=locate, credentials=credentials)
