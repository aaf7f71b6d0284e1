from adapters.embeddings_reader import EmbeddingsReader
from pointsman.tokens import Usage
from tests.adapters.test_embeddings import ANSWER


def test_reads_an_answer() -> None:
    reader = EmbeddingsReader()
    assert reader.read_whole(ANSWER)
    assert (reader.usage, reader.model) == (Usage(prompt=3, completion=0), "m")
    assert reader.has_answer
    assert reader.error is None
    assert not reader.is_unparsed


def test_an_error_with_status_200_is_one() -> None:
    reader = EmbeddingsReader()
    assert reader.read_whole(b'{"error":{"message":"no"}}')
    assert (reader.error, reader.has_answer) == (b'{"message":"no"}', False)


def test_what_is_no_object_is_refused_and_what_is_odd_is_marked() -> None:
    assert not EmbeddingsReader().read_whole(b"[]")
    reader = EmbeddingsReader()
    assert reader.read_whole(b'{"model":5,"data":[],"usage":null}')
    assert reader.is_unparsed
    assert reader.has_answer


def test_an_error_in_something_streamed_is_seen() -> None:
    reader = EmbeddingsReader()
    reader.read_events(b'data: {"error":{}}\n\n')
    assert reader.error == b"{}"
    assert not reader.is_complete


def test_the_usage_is_found_at_the_end_of_what_is_too_large_to_be_read() -> None:
    reader = EmbeddingsReader()
    reader.read_large(b"", b'AAAA"}],"model":"m","usage": {"prompt_tokens": 9}}')
    assert reader.usage == Usage(prompt=9, completion=0)
    odd = EmbeddingsReader()
    odd.read_large(b"", b'AAAA"}]}')
    assert odd.usage == Usage()
    assert odd.has_answer
    assert odd.is_unparsed
