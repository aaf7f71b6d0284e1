from learning.dataset_card import card
from learning.dataset_report import DatasetReport
from learning.dataset_spec import DatasetSpec


def test_says_what_it_is_and_what_was_left_out():
    report = DatasetReport(
        "d@1", 3, "abc", captures=9, splits={"train": 3}, excluded={"failed": 6, "filtered": 0},
        classes={"a|b": 2, "": 1}, tokens={"p50": 7}, masked={"EMAIL": 4}, groups=3,
    )  # fmt: skip
    text = card(report, DatasetSpec())
    for words in ("# d@1", "3 examples of 9 captures", "| failed | 6 | the answer was an error |",
                  "| a\\|b | 2 |", "| (empty) | 1 |", "estimated", "| EMAIL | 4 |"):  # fmt: skip
        assert words in text, words
    assert "filtered" not in text
    assert "not** masked" in card(report, DatasetSpec(redact=False))
    assert "none found" in card(report, DatasetSpec(prune_prefix=True))
