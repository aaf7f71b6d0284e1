import sys

import pytest
import tokenizers

from learning.dataset_spec import DatasetError
from learning.near import ExtraMissing
from learning.token_count import TokenCounter, texts_of


def test_tokens_are_estimated_from_bytes():
    counter = TokenCounter()
    assert counter.sha256 is None
    assert counter.count("abcde") == 2
    assert counter.example([{"content": "a" * 40}], {"content": "b" * 40}) == 21 + 8


def test_all_texts_count():
    call = {"function": {"name": "f", "arguments": "{}"}}
    assert texts_of({"content": "a", "tool_calls": [call]}) == ["a", "f", "{}"]
    parts = [{"type": "text", "text": "x"}, {"type": "image_url"}]
    assert texts_of({"content": parts}) == ["x"]
    assert texts_of({"content": None}) == []


def test_a_tokenizer_is_used_where_one_is_given(tmp_path):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    counter = TokenCounter(path)
    assert (counter.count("a b b"), len(counter.sha256)) == (3, 64)


def test_a_file_that_is_no_tokenizer_is_told(tmp_path):
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(DatasetError):
        TokenCounter(tmp_path / "t.json")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ExtraMissing, match=r"pointsman\[data\]"):
        TokenCounter(tmp_path / "t.json")
