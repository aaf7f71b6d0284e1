import msgspec

from learning.dataset_report import DatasetReport


def test_a_report_is_read_back_as_it_was_kept():
    report = DatasetReport("d@1", n_rows=3, excluded={"failed": 1}, named={"failed": ["a"]})
    kept = msgspec.json.encode(report)
    assert msgspec.json.decode(kept, type=DatasetReport) == report
