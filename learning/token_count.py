"""How many tokens an example has: under the student's tokenizer, or estimated from its bytes."""

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from .dataset_spec import DatasetError
from .example import Json
from .near import ExtraMissing

BYTES_PER_TOKEN: Final = 4
MESSAGE_TOKENS: Final = 4
"""Role and turn markers of a chat template, about."""


class TokenCounter:
    """Counts the tokens of examples. `sha256` names the tokenizer; None: it is an estimate."""

    def __init__(self, tokenizer: Path | None = None) -> None:
        self.sha256: str | None = None
        self._tokenizer: Any = None
        if tokenizer is not None:
            self._tokenizer = _load(tokenizer)
            self.sha256 = hashlib.sha256(tokenizer.read_bytes()).hexdigest()

    def count(self, text: str) -> int:
        """Tokens of one text."""
        if self._tokenizer is None:
            return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def example(self, messages: list[Json], target: Json) -> int:
        """Tokens of all that is trained on or read, turn markers included."""
        texts = [text for message in (*messages, target) for text in texts_of(message)]
        return self.count("\n".join(texts)) + MESSAGE_TOKENS * (len(messages) + 1)


def texts_of(message: Json) -> list[str]:
    """The texts of a message: its content's, or its calls' names and arguments."""
    found = []
    content = message.get("content")
    if isinstance(content, str):
        found.append(content)
    elif isinstance(content, list):
        found += [str(p["text"]) for p in content if isinstance(p, dict) and "text" in p]
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            found += [str(function.get("name")), str(function.get("arguments"))]
    return found


def _load(path: Path) -> Any:
    """A `tokenizer.json` of Hugging Face's tokenizers."""
    try:
        return import_module("tokenizers").Tokenizer.from_file(str(path))
    except ModuleNotFoundError:
        raise ExtraMissing("tokenizers is missing; pip install 'pointsman[data]'") from None
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower than Exception
        raise DatasetError(f"{path} is no tokenizer.json: {error}") from None
