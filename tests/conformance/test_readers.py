"""Exported data sets through the code of their readers: Inspect's loader, Together's check."""

import json
import subprocess
from pathlib import Path

from learning.dataset import build
from learning.dataset_spec import DatasetName, DatasetSpec, SplitRule
from learning.export import export_dataset
from tests.conformance import environments
from tests.conformance.outside import needs
from tests.support.records import keep
from tests.support.shapes import shapes

SCRIPT = environments.HERE / "clients" / "read_datasets.py"


def test_inspect_and_together_read_rows_of_every_shape(tmp_path: Path) -> None:
    keep(tmp_path, list(shapes().values()))
    build(tmp_path, "d", DatasetSpec(split=SplitRule(test=0.0, valid=0.0)))
    rows = {}
    for name in ("inspect", "together"):
        output = tmp_path / f"{name}.jsonl"
        rows[name] = export_dataset(tmp_path, DatasetName("d", 1), output, format_name=name).rows
    with needs():
        done = subprocess.run(
            [environments.python("readers"), str(SCRIPT), str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["inspect"] == found["ids"] == rows["inspect"] == len(shapes())
    assert found["calls"] == [["look", {"loan": "7"}]]
    assert found["kinds"] == ["image", "text"]
    assert "Größe: 5 €" in found["targets"]
    assert found["together"] == [True, rows["together"]]
