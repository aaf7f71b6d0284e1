"""What is read of a chunk in order to hide some of it, as types; relay.py does the hiding.

Types alone, so that relay.py can be compiled.
"""

import msgspec
from msgspec import UNSET, Raw, UnsetType


class Chunk(msgspec.Struct):
    """A chunk's choices, unread, and its usage."""

    choices: list[Raw] | None = None
    usage: Raw | UnsetType = UNSET


class Choice(msgspec.Struct):
    """The token logprobs of one choice, unread."""

    logprobs: Raw | UnsetType = UNSET


class Choices(msgspec.Struct):
    """The choices of a completion or chunk."""

    choices: list[Choice] = []
