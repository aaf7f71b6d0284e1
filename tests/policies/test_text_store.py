"""A text model written and read: the same predictions, slices, and what is refused."""

from itertools import repeat

import pytest

from policies import text_store
from policies.text_model import Head, TextModel, lanes_of
from policies.text_store import loading, model_bytes, model_digest, read_model


@pytest.fixture
def model() -> TextModel:
    heads = (
        Head("local", 0.5, (0.1, -0.2), {"law": 1.0}),
        Head("gpt-4", 1.5, (0.0, 0.3), {}),
    )
    one = {number * 37 % 2**32: lanes_of((2.0, -0.5 * number, 0.25)) for number in range(5000)}
    return TextModel((one, {7: lanes_of((1.0, 1.0, -1.0))}), heads, 12)


def test_a_model_predicts_the_same_after_a_restart(model: TextModel) -> None:
    again = read_model(model_bytes(model))
    assert again == model
    texts = ([b"a"], [b"b"])
    assert again.predict(texts, (1.0, 2.0), "law") == model.predict(texts, (1.0, 2.0), "law")


def test_reading_gives_way_after_every_slice(model: TextModel) -> None:
    steps = list(loading(model_bytes(model)))
    assert steps[:-1] == list(repeat(None, 3 + 1))  # 5,000 n-grams in slices of 2,000, and one
    assert steps[-1] == model


def test_the_digest_is_that_of_the_model(model: TextModel) -> None:
    data = model_bytes(model)
    assert model_digest(data) == model_digest(model_bytes(read_model(data)))
    assert model_digest(data) != model_digest(data + b"x")


@pytest.mark.parametrize("cut", [0, 3, 40, 5000, -1])
def test_a_model_cut_short_is_refused(model: TextModel, cut: int) -> None:
    with pytest.raises(ValueError, match="text model"):
        read_model(model_bytes(model)[:cut])


def test_another_format_is_refused(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    data = model_bytes(model)
    monkeypatch.setattr(text_store, "FORMAT", 2)
    with pytest.raises(ValueError, match="format 1"):
        read_model(data)


def test_bytes_behind_a_model_are_refused(model: TextModel) -> None:
    with pytest.raises(ValueError, match="something behind it"):
        read_model(model_bytes(model) + b"x")


def test_lanes_that_do_not_fit_the_heads_are_refused(
    model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = model_bytes(model)
    monkeypatch.setattr(text_store, "_LANE_BYTES", 16)
    with pytest.raises(ValueError, match="do not fit"):
        read_model(data)
