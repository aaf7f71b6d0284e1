"""A text model written and read: the same predictions, slices, and what is refused."""

import msgspec
import pytest

from policies import text_store
from policies.text_model import Head, TextModel, pack_grams
from policies.text_store import loading, model_bytes, model_digest, read_model


@pytest.fixture
def model() -> TextModel:
    heads = (
        Head("local", 0.5, (0.1, -0.2), {"law": 1.0}),
        Head("gpt-4", 1.5, (0.0, 0.3), {}),
    )
    slots = list(range(0, 1 << 12, 3))
    weights = [[-0.5 * slot for slot in slots], [0.25] * len(slots)]
    one = pack_grams(12, slots, [2.0] * len(slots), weights)
    return TextModel((one, pack_grams(10, [7], [1.0], [[1.0], [-1.0]])), heads, 12)


def test_a_model_predicts_the_same_after_a_restart(model: TextModel) -> None:
    again = read_model(model_bytes(model))
    assert again == model
    texts = ([b"a", b"b"], [b"b"])
    assert again.predict(texts, (1.0, 2.0), "law") == model.predict(texts, (1.0, 2.0), "law")


def test_reading_gives_way_after_every_slice(
    model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_store, "SLICE", 2000)
    steps = list(loading(model_bytes(model)))
    # two pairs of 4,096 numbers, three slices each, and two of 1,024
    assert steps[:-1] == [None] * (2 * 3 + 2)
    assert steps[-1] == model


def test_a_model_is_read_from_where_it_stands(model: TextModel) -> None:
    data = model_bytes(model)
    *_, found = loading(b"before" + data + b"behind", start=6, end=6 + len(data))
    assert found == model


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
    monkeypatch.setattr(text_store, "FORMAT", 3)
    with pytest.raises(ValueError, match="format 2"):
        read_model(data)


def test_bytes_behind_a_model_are_refused(model: TextModel) -> None:
    with pytest.raises(ValueError, match="something behind it"):
        read_model(model_bytes(model) + b"x")


def test_tables_that_do_not_fit_the_heads_are_refused(model: TextModel) -> None:
    fewer = msgspec.structs.replace(model, heads=model.heads[:1])
    with pytest.raises(ValueError, match="do not fit"):
        read_model(model_bytes(fewer))


def test_tables_beyond_all_bounds_are_refused(
    model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_store, "SLOT_BITS_MAX", 11)
    with pytest.raises(ValueError, match="larger than any"):
        read_model(model_bytes(model))
