"""A request on its way to one backend: what is wanted of it, what was edited, what is sent.

Plain classes in a file of their own, so that they can be compiled.
"""

from dataclasses import dataclass

from .backend import Backend


@dataclass(init=False)
class Wanted:
    """What the route asks of one attempt, and what is known of the client's body."""

    model_asked: str
    is_stream: bool
    includes_usage: bool
    """The client asked for usage in its stream, or its API tells it anyway."""
    adds_logprobs: bool
    """Confidence wants logprobs and the client asked for none."""

    def __init__(
        self, model_asked: str, is_stream: bool, includes_usage: bool, adds_logprobs: bool
    ) -> None:
        self.model_asked = model_asked
        self.is_stream = is_stream
        self.includes_usage = includes_usage
        self.adds_logprobs = adds_logprobs

    def is_moved_to(self, backend: Backend) -> bool:
        """The policy chose this model: the client asked for another name."""
        return self.model_asked not in (backend.model, backend.name)


@dataclass(init=False)
class Edited:
    """A body as one backend gets it, and what must be hidden from its answer."""

    body: bytes
    names: tuple[str, ...]
    """The members that were changed."""
    hides_usage: bool
    hides_logprobs: bool

    def __init__(
        self,
        body: bytes,
        names: tuple[str, ...] = (),
        hides_usage: bool = False,
        hides_logprobs: bool = False,
    ) -> None:
        self.body = body
        self.names = names
        self.hides_usage = hides_usage
        self.hides_logprobs = hides_logprobs


@dataclass(init=False)
class Prepared:
    """One request, ready to send, and what must be hidden from its answer."""

    payload: bytes
    edited: tuple[str, ...]
    is_stream: bool
    """A stream is asked for; whoever answers with one unasked has not answered."""
    hides_usage: bool
    hides_logprobs: bool

    def __init__(
        self,
        payload: bytes,
        edited: tuple[str, ...],
        is_stream: bool,
        hides_usage: bool,
        hides_logprobs: bool,
    ) -> None:
        self.payload = payload
        self.is_stream = is_stream
        self.edited = edited
        self.hides_usage = hides_usage
        self.hides_logprobs = hides_logprobs
