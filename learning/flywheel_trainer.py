"""A trainer that trains nothing: what CI's flywheel puts in the place of train_process.py.

It says the same lines and leaves the same files behind, so that all around it is the real thing:
`pointsman train` checks, registers and hashes what it finds. The model is 17 bytes of text.
"""

import json
import sys
from pathlib import Path

MODEL: bytes = b"not a model: stub"


def main(arguments: list[str]) -> int:
    """As train_process.py is called: with the job's file."""
    job = json.loads(Path(arguments[-1]).read_text("utf-8"))
    work = Path(job["work"])
    rows = len(Path(job["train"]).read_text("utf-8").splitlines())
    _tell(event="checked", rows=rows, over_length=0, not_text=0)
    _tell(event="doing", what="STUB: nothing is trained")
    (work / "loss.json").write_text(json.dumps({"losses": [1.0, 1.0], "valid_loss": None}), "utf-8")
    (work / "model.gguf").write_bytes(MODEL)
    _tell(event="trained", steps=0, valid_loss=None)
    return 0


def _tell(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
