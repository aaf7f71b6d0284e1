"""What a decision reads of one request, whatever its API.

A plain class in a file of its own, so that it can be compiled: two dozen reads of it a request
cost a few instructions each, where those of a msgspec type cost 150.
"""

from dataclasses import dataclass

from .request import ResponseFormat


@dataclass(init=False)
class Features:
    """All that a decision reads of one request; not changed once made."""

    model: str | None
    """None: none was named, where an API allows that; `default` takes it."""
    labels: dict[str, str]
    labels_ignored: int
    """Labels left out: beyond 16, over 128 bytes, or not text."""
    task: str
    """The label `task`, else a hash of system prompt and tool names."""
    conversation: str
    user: str | None
    prompt_bytes: int
    """JSON bytes of what becomes prompt tokens; of the whole body where there are none."""
    max_tokens: int | None
    """The client's own limit on output tokens of one choice."""
    is_stream: bool
    choices: int
    has_tools: bool
    has_images: bool
    response_format: ResponseFormat | None
    wants_logprobs: bool
    include_usage: bool
    previous_response_id: str | None
    """The response this request goes on from; only the backend that made it knows it."""

    def __init__(
        self,
        model: str | None,
        labels: dict[str, str],
        labels_ignored: int,
        task: str,
        conversation: str,
        user: str | None,
        prompt_bytes: int,
        max_tokens: int | None,
        is_stream: bool,
        choices: int,
        has_tools: bool,
        has_images: bool,
        response_format: ResponseFormat | None,
        wants_logprobs: bool,
        include_usage: bool,
        previous_response_id: str | None = None,
    ) -> None:
        self.model = model
        self.labels = labels
        self.labels_ignored = labels_ignored
        self.task = task
        self.conversation = conversation
        self.user = user
        self.prompt_bytes = prompt_bytes
        self.max_tokens = max_tokens
        self.is_stream = is_stream
        self.choices = choices
        self.has_tools = has_tools
        self.has_images = has_images
        self.response_format: ResponseFormat | None = response_format
        self.wants_logprobs = wants_logprobs
        self.include_usage = include_usage
        self.previous_response_id = previous_response_id
