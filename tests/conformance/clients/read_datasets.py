"""Run by test_readers.py where the readers are: what their own code makes of exported files."""

import json
import sys
from pathlib import Path

from inspect_ai.dataset import json_dataset
from together.lib.utils import check_file

folder = Path(sys.argv[1])
samples = list(json_dataset(str(folder / "inspect.jsonl")))
calls = [
    call
    for sample in samples
    for message in sample.input
    for call in getattr(message, "tool_calls", None) or ()
]
kinds = {
    part.type
    for sample in samples
    for message in sample.input
    if isinstance(message.content, list)
    for part in message.content
}
checked = check_file(folder / "together.jsonl")
found = {
    "inspect": len(samples),
    "targets": [sample.target for sample in samples],
    "ids": len({sample.id for sample in samples}),
    "calls": [[call.function, call.arguments] for call in calls],
    "kinds": sorted(kinds),
    "together": [checked["is_check_passed"], checked["num_samples"]],
}
sys.stdout.write(json.dumps(found))
