"""The side-reader of embeddings: the usage and the model; the vectors are not looked at."""

import re

from msgspec import UNSET

from pointsman.tokens import Usage

from .answer_reader import AnswerReader
from .embeddings import Embeddings, read_embeddings

_USAGE = re.compile(rb'"usage"[ \t\r\n]*:[ \t\r\n]*(\{[^{}]{0,512}\})')


class EmbeddingsReader(AnswerReader):
    """Reads one answer; this API has no streams."""

    def _read(self, payload: bytes) -> bool:
        answer, is_typed = read_embeddings(payload)
        if not is_typed:
            self.is_unparsed = True
        if answer is None:
            return False
        self._take(answer)
        return True

    def read_tail(self, tail: bytes) -> None:
        """The usage stands behind the vectors, which may be many megabytes."""
        self.has_answer = True
        found = _USAGE.search(tail)
        if found is not None:
            self._read(b'{"data":[],"usage":%b}' % found[1])

    def _says_done(self) -> bool:
        return False

    def _take(self, answer: Embeddings) -> None:
        self.model = answer.model or self.model
        if answer.usage is not None:  # no token comes out of it
            self.usage = Usage(prompt=answer.usage.prompt_tokens, completion=0)
        self.has_answer = answer.data is not UNSET
        if answer.error is not UNSET and bytes(answer.error) != b"null":
            self.error = bytes(answer.error)
