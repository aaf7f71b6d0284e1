"""The side-reader of embeddings: the usage and the model; the vectors are not looked at."""

from msgspec import UNSET

from pointsman.tokens import Usage

from .answer_reader import AnswerReader
from .embeddings import Embeddings, read_embeddings


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

    def _says_done(self) -> bool:
        return False

    def _take(self, answer: Embeddings) -> None:
        self.model = answer.model or self.model
        if answer.usage is not None:  # no token comes out of it
            self.usage = Usage(prompt=answer.usage.prompt_tokens, completion=0)
        self.has_answer = answer.data is not UNSET
        if answer.error is not UNSET and bytes(answer.error) != b"null":
            self.error = bytes(answer.error)
