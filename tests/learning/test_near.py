import random
import sys
from pathlib import Path

import numpy
import pytest

from learning import near
from learning.near import ExtraMissing, Signatures, join, join_equal, near_pairs, shingles

WORDS = [f"w{n}" for n in range(2000)]


def text(draw, count=80):
    return " ".join(draw.choice(WORDS) for _ in range(count))


def with_changes(original, draw, count):
    words = original.split()
    for place in draw.sample(range(len(words)), count):
        words[place] = "changed"
    return " ".join(words)


def jaccard(a, b):
    first, second = set(shingles(a)), set(shingles(b))
    return len(first & second) / len(first | second)


def components(path: Path, texts, similarity):
    with Signatures(path) as signatures:
        for one in texts:
            signatures.add(one)
        labels = numpy.arange(len(texts))
        for first, second, _ in near_pairs(signatures.matrix(), similarity):
            join(labels, first, second)
    assert not path.exists()
    return labels


def test_planted_near_copies_are_found(tmp_path):
    draw = random.Random(3)
    originals = [text(draw) for _ in range(1500)]
    copies = [with_changes(one, draw, 1) for one in originals]
    assert min(jaccard(a, b) for a, b in zip(originals, copies, strict=True)) > 0.8
    labels = components(tmp_path / "s", originals + copies, 0.7)
    found = sum(labels[n] == labels[n + 1500] for n in range(1500))
    assert found / 1500 >= 0.99


def test_texts_that_share_little_are_kept_apart(tmp_path):
    draw = random.Random(4)
    originals = [text(draw) for _ in range(300)]
    others = [with_changes(one, draw, 12) for one in originals]
    assert max(jaccard(a, b) for a, b in zip(originals, others, strict=True)) < 0.5
    labels = components(tmp_path / "s", originals + others, 0.7)
    assert len(set(labels)) >= 595


def test_a_large_cluster_is_one(tmp_path):
    draw = random.Random(5)
    original = text(draw, 200)
    labels = components(tmp_path / "s", [with_changes(original, draw, 1) for _ in range(300)], 0.7)
    assert len(set(labels)) == 1


def test_no_texts_have_no_pairs(tmp_path):
    assert len(components(tmp_path / "s", [], 0.7)) == 0


def test_a_short_text_is_one_shingle():
    assert shingles("a b c") == ["a b c"]
    assert shingles("") == [""]
    assert shingles("a b c d e f") == ["a b c d e", "b c d e f"]


def test_join_finds_components_whatever_the_order():
    labels = numpy.arange(1000)
    draw = random.Random(6)
    order = list(range(999))
    draw.shuffle(order)
    edges = numpy.array(order)
    join(labels, edges, edges + 1)
    assert (labels == 0).all()


def test_equal_keys_are_joined_but_for_none():
    labels = join_equal(numpy.arange(6), numpy.array([7, 0, 7, 0, 9, 7], dtype=numpy.uint64))
    assert labels.tolist() == [0, 1, 0, 3, 4, 0]


def test_a_missing_package_is_named(monkeypatch):

    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(ExtraMissing, match=r"pointsman\[data\]"):
        near.require_extra()
