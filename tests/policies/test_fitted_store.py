"""Fitted models written, read in slices, and let go of in slices."""

import pytest

from policies import fitted_store, text_store
from policies.fitted_store import (
    digest_in,
    fitted_bytes,
    is_whole,
    loading,
    read_fitted,
)
from policies.text_model import Head, TextModel, pack_grams


def model(name: str, bits: int = 13) -> TextModel:
    heads = (Head(name, 0.5, (0.1,), {"law": 1.0}),)
    slots = range(0, 1 << bits, 7)
    table = pack_grams(bits, slots, [2.0] * len(slots), [[0.25] * len(slots)])
    return TextModel((table, pack_grams(10, [7], [1.0], [[1.0]])), heads, 12)


@pytest.mark.parametrize("prompts", [None, model("a")])
@pytest.mark.parametrize("answers", [None, model("b", 11)])
def test_models_are_read_as_they_were_written(
    prompts: TextModel | None, answers: TextModel | None
) -> None:
    data = fitted_bytes(prompts, answers)
    found = read_fitted(data)
    assert (found.prompts, found.answers) == (prompts, answers)
    assert found.digest == digest_in(data)
    assert len(found.digest) == 16


def test_reading_gives_way_after_every_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_store, "SLICE", 3000)
    steps = list(loading(fitted_bytes(model("a"), None)))
    assert len(steps) == 3 + 1 + 1 + 1  # tables of 8,192 and 1,024 numbers, a model, all of it
    assert steps[:-1] == [None] * 5


def test_the_digest_is_that_of_what_follows_it() -> None:
    data = fitted_bytes(model("a"), model("b"))
    assert is_whole(data)
    assert not is_whole(data[:-1] + b"x")
    assert digest_in(data) != digest_in(fitted_bytes(model("b"), model("a")))


@pytest.mark.parametrize("start", [b"", b"0123", b"not hexadecimal!", "é".encode() * 8])
def test_what_is_no_digest_is_none(start: bytes) -> None:
    assert digest_in(start) == ""


@pytest.mark.parametrize("cut", [0, 10, 17, 30, 1000, -1])
def test_models_cut_short_are_refused(cut: int) -> None:
    with pytest.raises(ValueError, match=r"fitted models|text model"):
        read_fitted(fitted_bytes(model("a"), model("b"))[:cut])


def test_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = fitted_bytes(model("a"), None)
    monkeypatch.setattr(fitted_store, "FORMAT", 2)
    with pytest.raises(ValueError, match="format 1"):
        read_fitted(data)
