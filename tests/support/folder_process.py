"""A keeper's stand-in to be killed: folds for ever.

python -m tests.support.folder_process DIRECTORY
"""

import sys
import time
from pathlib import Path

from telemetry.fold import Folder


def main() -> None:
    """Fold in small reads, so that there are many points to die at."""
    folder = Folder(Path(sys.argv[1]), read_bytes=20_000, lock_timeout_s=10.0)
    sys.stdout.write("folding\n")
    sys.stdout.flush()
    while True:
        folder.fold_once()
        time.sleep(0.001)


if __name__ == "__main__":
    main()
