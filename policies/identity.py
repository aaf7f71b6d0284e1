"""What tells requests apart: labels, task, conversation. The same for every API.

Labels come from headers and from the body's `metadata`; a task is what requests of one kind have
in common, a conversation what requests of one talk do. Both are told by a hash that is fast
rather than hard to forge (xxh3: 0.1 us a KB where BLAKE2b takes 0.9, and 1 ms for 20 MB): whoever
made two talks of their own collide would keep them together, and no more.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from xxhash import xxh3_64_hexdigest, xxh3_128_hexdigest

LABELS_MAX: Final = 16  # as many as OpenAI's metadata holds
LABEL_BYTES_MAX: Final = 128
CONVERSATION_BYTES_MAX: Final = 128
TASKS_KEPT: Final = 1024  # task hashes remembered, 4 MB of prompts at most
TASK_BYTES_KEPT: Final = 4096


def read_labels(headers: Mapping[str, str], metadata: object) -> tuple[dict[str, str], int]:
    """Labels by name in lower case, a header's before the body's, and how many were left out."""
    labels: dict[str, str] = {}
    ignored = 0
    for name, value in headers.items():
        ignored += not _take_label(labels, name, value)
    if isinstance(metadata, dict) and metadata:
        for key, given in metadata.items():  # names of their own: compiled, `value` is text
            if key.lower() not in labels:
                ignored += not _take_label(labels, key, given)
    return labels, ignored


def _take_label(labels: dict[str, str], name: str, value: object) -> bool:
    """Add one label within the limits; False where it is left out."""
    if len(labels) >= LABELS_MAX or not isinstance(value, str):
        return False
    if not 0 < _byte_length(name) <= LABEL_BYTES_MAX or _byte_length(value) > LABEL_BYTES_MAX:
        return False
    labels[name.lower()] = value
    return True


def _byte_length(text: str) -> int:
    if text.isascii() or len(text) > LABEL_BYTES_MAX:
        return len(text)
    return len(text.encode("utf-8", "surrogatepass"))


def conversation_of(header: str | None, caller: str | None, system: bytes, user: bytes) -> str:
    """The header's word, else a hash of caller, system prompt and first words of the user."""
    if header:
        encoded = header.encode("utf-8", "surrogatepass")
        return header if len(encoded) <= CONVERSATION_BYTES_MAX else xxh3_128_hexdigest(encoded)
    name = caller.encode("utf-8", "surrogatepass") if caller else b""
    framed = b"%d:%b%d:%b%d:%b" % (len(name), name, len(system), system, len(user), user)
    return xxh3_128_hexdigest(framed)


def task_of(system: bytes, names: bytes) -> str:
    """A hash of what makes requests alike: the system prompt and the tools' names."""
    if len(system) + len(names) <= TASK_BYTES_KEPT:
        return _kept_task(system, names)
    return _task_of(system, names)


@lru_cache(maxsize=TASKS_KEPT)
def _kept_task(system: bytes, names: bytes) -> str:
    return _task_of(system, names)


def _task_of(system: bytes, names: bytes) -> str:
    return xxh3_64_hexdigest(b"%d:%b%b" % (len(system), system, names))
