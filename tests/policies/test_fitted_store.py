"""Fitted models written, read in slices, and let go of in slices."""

import pytest

from policies import fitted_store, text_store
from policies.fitted import Fitted
from policies.fitted_store import (
    digest_in,
    fitted_bytes,
    is_whole,
    loading,
    read_fitted,
    unloading,
)
from policies.text_model import Head, TextModel, lanes_of


def model(name: str, grams: int = 5000) -> TextModel:
    heads = (Head(name, 0.5, (0.1,), {"law": 1.0}),)
    table = {number * 37 % 2**32: lanes_of((2.0, 0.25)) for number in range(grams)}
    return TextModel((table, {7: lanes_of((1.0, 1.0))}), heads, 12)


@pytest.mark.parametrize("prompts", [None, model("a")])
@pytest.mark.parametrize("answers", [None, model("b", 20)])
def test_models_are_read_as_they_were_written(
    prompts: TextModel | None, answers: TextModel | None
) -> None:
    data = fitted_bytes(prompts, answers)
    found = read_fitted(data)
    assert (found.prompts, found.answers) == (prompts, answers)
    assert found.digest == digest_in(data)
    assert len(found.digest) == 16


def test_reading_gives_way_after_every_slice() -> None:
    steps = list(loading(fitted_bytes(model("a"), None)))
    assert len(steps) == 3 + 1 + 1 + 1  # two tables in slices of 2,000, a model, all of it
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
    with pytest.raises(ValueError, match="fitted models|text model"):
        read_fitted(fitted_bytes(model("a"), model("b"))[:cut])


def test_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = fitted_bytes(model("a"), None)
    monkeypatch.setattr(fitted_store, "FORMAT", 2)
    with pytest.raises(ValueError, match="format 1"):
        read_fitted(data)


def test_models_are_emptied_in_slices() -> None:
    fitted = Fitted("d", model("a"), None)
    assert fitted.prompts is not None
    assert len(list(unloading(fitted))) == 5000 // text_store.SLICE + 1 + 1
    assert not any(fitted.prompts.texts)
