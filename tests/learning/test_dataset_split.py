import random

import msgspec
import numpy
import pytest

from learning.dataset_spec import SplitRule
from learning.dataset_split import CODES, DAY_US, SPLITS, TEST, Columns, Earlier, Wanted, decide
from learning.near import Signatures
from tests.support.chats import prose

NONE = Earlier(numpy.zeros(0, "u8"), numpy.zeros(0, "u8"))
WANTED = Wanted(SplitRule(), 0.8, 0.7)


class Rows:
    """Examples to decide about."""

    def __init__(self, path):
        self.columns = Columns()
        self.signatures = Signatures(path)

    def add(self, text, *, target=1, conversation=0, turn=0, earlier=(), ts_us=0, rank=0, key=None):
        number = len(self.columns)
        columns = self.columns
        columns.identity.append(key or hash_of(f"identity {number}"))
        columns.input.append(hash_of(text))
        columns.target.append(target)
        columns.conversation.append(conversation)
        columns.turn.append(turn or hash_of(f"turn {number}"))
        columns.earlier.extend(earlier)
        columns.ts_us.append(ts_us)
        columns.rank.append(rank)
        self.signatures.add(text)
        return number

    def decide(self, earlier=NONE, **changes):
        wanted = msgspec.structs.replace(WANTED, **changes)
        with self.signatures:
            return decide(self.columns, self.signatures.matrix(), wanted, earlier)


def hash_of(text):
    return random.Random(text).getrandbits(64) | 1


@pytest.fixture
def rows(tmp_path):
    return Rows(tmp_path / "signatures")


def codes(decided):
    return [CODES[code] for code in decided.code]


def near(text):
    """One word changed."""
    words = text.split()
    words[len(words) // 2] = "changed"
    return " ".join(words)


LONG = prose("long", 80)


def test_of_the_same_question_the_best_label_stays_then_the_newest(rows):
    rows.add("same", ts_us=1)
    rows.add("same", ts_us=5)
    rows.add("same", ts_us=3, rank=2)
    rows.add("other")
    decided = rows.decide()
    assert codes(decided) == ["duplicate", "duplicate", "", ""]
    assert decided.count.tolist() == [3, 3, 3, 1]


def test_nearly_the_same_with_the_same_answer_goes_with_another_stays(rows):
    rows.add(LONG, ts_us=2)
    rows.add(near(LONG), ts_us=1)
    rows.add(LONG.replace(LONG.split()[5], "swapped", 1), target=7)
    decided = rows.decide()
    assert codes(decided)[:2] == ["", "near_duplicate"]
    assert codes(decided)[2] == ""
    assert len(set(decided.group.tolist())) == 1


def test_what_is_allowed_stays(rows):
    for _ in range(2):
        rows.add(LONG)
    rows.add(near(LONG))
    assert codes(rows.decide(allow=("duplicate", "near_duplicate"))) == ["", "", ""]


def test_an_earlier_turn_of_a_chat_leaves(rows):
    rows.add("a", turn=11)
    rows.add("b", turn=22, earlier=(11,))
    assert codes(rows.decide()) == ["conversation_prefix", ""]


def test_a_conversation_lies_on_one_side(rows):
    for number in range(400):
        rows.add(prose(number), conversation=number // 4 + 1)
    decided = rows.decide()
    sides = {}
    for index in range(400):
        sides.setdefault(index // 4, set()).add(int(decided.split[index]))
    assert all(len(found) == 1 for found in sides.values())
    assert decided.naive_leaks > 0.5


def test_planted_leaks_are_on_one_side(rows):
    draw = random.Random(9)
    originals = [prose(f"leak {n}", 80) for n in range(600)]
    for text in originals:
        rows.add(text, target=1)
    for text in originals:
        words = text.split()
        words[draw.randrange(len(words))] = "swapped"
        rows.add(" ".join(words), target=2)
    decided = rows.decide()
    assert set(codes(decided)) == {""}
    apart = sum(decided.group[n] != decided.group[n + 600] for n in range(600))
    assert apart / 600 <= 0.01


def test_shares_are_kept_and_the_salt_shuffles(rows, tmp_path):
    again = Rows(tmp_path / "again")
    for number in range(3000):
        rows.add(prose(number, 12))
        again.add(prose(number, 12))
    split = SplitRule(valid=0.2, test=0.3)
    first = rows.decide(split=split)
    shares = [(first.split == n).mean() for n in range(3)]
    assert shares == pytest.approx([0.5, 0.2, 0.3], abs=0.05)
    other = again.decide(split=SplitRule(valid=0.2, test=0.3, salt="another"))
    assert (first.split != other.split).any()


def test_what_was_tested_on_stays_a_test_and_what_was_trained_on_beside_it_goes(rows):
    first = rows.add(LONG, target=1)
    second = rows.add(near(LONG), target=2)
    rows.add("alone")
    identity = rows.columns.identity
    earlier = Earlier(
        numpy.array([identity[first]], dtype="u8"), numpy.array([identity[second]], dtype="u8")
    )
    decided = rows.decide(earlier, split=SplitRule(test=0.0, valid=0.0))
    assert codes(decided) == ["", "was_train", ""]
    assert [SPLITS[side] for side in decided.split] == ["test", "test", "train"]


def test_the_last_days_are_apart_but_for_groups_that_began_before(rows):
    rows.add("old", conversation=5, ts_us=0)
    rows.add("new of an old conversation", conversation=5, ts_us=10 * DAY_US)
    rows.add("new", ts_us=10 * DAY_US)
    decided = rows.decide(split=SplitRule(holdout_days=2.0, test=0.0, valid=0.0))
    assert [SPLITS[side] for side in decided.split] == ["train", "train", "holdout"]


def test_nothing_is_decided_about_nothing(rows):
    decided = rows.decide()
    assert (len(decided.code), decided.naive_leaks) == (0, 0.0)


def test_a_test_row_is_one(rows):
    rows.add("x")
    assert rows.decide(split=SplitRule(test=1.0)).split.tolist() == [TEST]
