"""Export, data sets and lineage at a million captured rows: `make bench-learning`.

    --rows N      another size (1,000,000 takes about ten minutes on two cores)
    --keep DIR    leave the store there, or use the one that is there

The store is made with the fold's own writer; every figure is of a process of its own (`reader_mb`:
of one of those that a build starts, `cpu`: of all). On a machine that others use too, the CPU
seconds tell. Planted near-copies (one word of eighty changed, another answer) must lie on their
original's side; builds again of the same rows must have the same hash.
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from telemetry.day_store import DayBatch, DayStore, SegmentPlace
from telemetry.ids import IdSource
from telemetry.learning_store import LearningStore
from telemetry.record import RequestRecord
from telemetry.store import day_path, prepare_directory

BATCH = 5000
PLANTED_EVERY = 50
AGAIN_ROWS = 25_000  # enough for two processes to read them
AGAIN_BUILDS = 4
START_NS = 1_780_000_000_000_000_000
WORDS = [f"{a}{b}" for a in ("pay", "loan", "es", "due", "re", "in", "out", "call", "bal", "fee")
         for b in ("off", "er", "crow", "date", "rate", "sum", "line", "ance", "mark", "ing",
                   "cur", "tor", "man", "ter", "ment", "ly", "ness", "port", "ward", "ship")
         ]  # fmt: skip
GOALS = {
    "export_s": 30.0, "export_mb": 300.0, "build_s": 90.0, "trace_ms": 50.0,
    "where_used_ms": 50.0, "planted_found": 0.99, "other_hashes": 0,
}  # fmt: skip


def fill(directory: Path, rows: int) -> None:
    """A day with `rows` captures, one of PLANTED_EVERY a near-copy of the one before."""
    prepare_directory(directory)
    LearningStore(directory).close()
    clock_ns = iter(range(START_NS, START_NS + 80_000 * rows, 80_000))
    new_id = IdSource(lambda: next(clock_ns))
    draw = random.Random(1)
    store = DayStore(day_path(directory, "2026-05-28"))
    try:
        for start in range(0, rows, BATCH):
            count = min(BATCH, rows - start)
            items = _records(draw, new_id, start, count)
            place = SegmentPlace("bench", "here", 0, "bench", start + count)
            store.write(DayBatch(items, list(range(count))), place, 0)
    finally:
        store.close()


def _records(
    draw: random.Random, new_id: Callable[[], str], start: int, count: int
) -> list[RequestRecord | object]:
    records: list[RequestRecord | object] = []
    words: list[str] = []
    for number in range(start, start + count):
        is_planted = number % PLANTED_EVERY == PLANTED_EVERY - 1 and bool(words)
        if is_planted:
            words[draw.randrange(len(words))] = f"changed{number}"
        else:
            words = draw.choices(WORDS, k=79)
            words.append(f"unique{number}")
        records.append(_record(new_id(), number, " ".join(words)))
    return records


def _record(identifier: str, number: int, text: str) -> RequestRecord:
    system = "You read the transcript of a call and say the payoff amount as JSON."
    body = {
        "model": "auto",
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}],
    }
    said = {"role": "assistant", "content": f'{{"payoff_amount": {number}.25}}'}
    answer = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "model": "liability-8b",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 120, "completion_tokens": 12},
    }
    return RequestRecord(
        id=identifier,
        ts_us=int(identifier.replace("-", "")[:12], 16) * 1000,
        api="chat",
        status="ok",
        complete=True,
        capture="full",
        http_status=200,
        route="extract",
        backend="local",
        model_reported="liability-8b",
        conversation=f"c{number // 3}" if number % 10 == 0 else None,
        request=msgspec.json.encode(body),
        response=msgspec.json.encode(answer),
    )


# -- measured in processes of their own --------------------------------------------------------


def measure_export(directory: Path) -> dict[str, float]:
    """openai-chat of all captures."""
    from learning.export import export

    output = directory / "export.jsonl"
    started_s, used_s = time.perf_counter(), time.process_time()
    report = export(directory, output, format_name="openai-chat")
    figures = {
        "export_s": time.perf_counter() - started_s,
        "export_cpu_s": time.process_time() - used_s,
        "export_rows": report.rows,
        "export_mb": _memory_mb(),
    }
    output.unlink()
    return figures


def measure_build(directory: Path) -> dict[str, float]:
    """A whole build; of it what comes after reading, and whether planted copies stay together."""
    from learning.dataset import build
    from learning.dataset_spec import DatasetName, DatasetSpec
    from learning.dataset_table import examples, snapshot

    moments: dict[str, float] = {}
    started_s, used_s = time.perf_counter(), time.process_time()
    report = build(
        directory,
        "bench",
        DatasetSpec(),
        progress=lambda doing, done, total: moments.setdefault(doing, time.perf_counter()),
    )
    ended_s = time.perf_counter()
    before = (-1, "")  # number and group
    together = planted = 0
    for example in examples(snapshot(directory, DatasetName("bench", 1))):
        said = msgspec.json.decode(str(example.target["content"]))
        number = int(said["payoff_amount"])
        if number % PLANTED_EVERY == PLANTED_EVERY - 1:
            planted += 1
            together += before == (number - 1, example.group_key)
        before = (number, example.group_key)
    return {
        "build_cpu_s": time.process_time() - used_s + _cpu_of_children_s(),
        "read_s": moments["comparing"] - moments["reading"],
        "compare_s": moments["splitting"] - moments["comparing"],
        "write_s": ended_s - moments["splitting"],
        "build_s": ended_s - started_s,
        "build_mb": _memory_mb(),
        "reader_mb": _memory_mb(resource.RUSAGE_CHILDREN),
        "build_rows": report.n_rows,
        "planted": planted,
        "planted_found": together / max(1, planted),
        "overlap": report.overlap,
        "content": int(report.content_sha256[:12], 16),
    }


def measure_again(directory: Path) -> dict[str, float]:
    """How many hashes besides the first builds of the same rows have; goal: none."""
    from learning.captured import Selection
    from learning.dataset import build
    from learning.dataset_spec import DatasetSpec

    spec = DatasetSpec(Selection(where=f"r.seq <= {AGAIN_ROWS}"))
    hashes = {build(directory, f"again-{n}", spec).content_sha256 for n in range(AGAIN_BUILDS)}
    return {"builds": AGAIN_BUILDS, "other_hashes": len(hashes) - 1}


def measure_lineage(directory: Path) -> dict[str, float]:
    """Of 200 looks each, inside the process: half are faster, and 95 of 100."""
    from learning.dataset_store import trace, where_used

    draw = random.Random(2)
    found = trace(directory, "bench@1", 0)
    traced, used = [], []
    for _ in range(200):
        row = draw.randrange(1000)
        started_s = time.perf_counter()
        found = trace(directory, "bench@1", row)
        traced.append(time.perf_counter() - started_s)
        started_s = time.perf_counter()
        where_used(directory, found["request_id"])
        used.append(time.perf_counter() - started_s)
    traced.sort()
    used.sort()
    return {
        "trace_p50_ms": 1000 * traced[100],
        "trace_ms": 1000 * traced[190],
        "where_used_p50_ms": 1000 * used[100],
        "where_used_ms": 1000 * used[190],
    }


MEASURES = {
    "export": measure_export,
    "build": measure_build,
    "again": measure_again,
    "lineage": measure_lineage,
}


def _memory_mb(whose: int = resource.RUSAGE_SELF) -> float:
    """The most that this process, or the largest of its children, had in memory."""
    return resource.getrusage(whose).ru_maxrss / 1024


def _cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_measure(name: str, directory: Path) -> dict[str, float]:
    """One measure in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.learning", "--measure", name, "--keep", str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--measure", choices=sorted(MEASURES))
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(MEASURES[options.measure](options.keep)))
        return
    directory = options.keep or Path(tempfile.mkdtemp(prefix="bench-learning-"))
    try:
        if not any(directory.glob("capture-*.db")):
            started_s = time.perf_counter()
            fill(directory, options.rows)
            print(f"{options.rows} captures made in {time.perf_counter() - started_s:.0f} s")
        for name in MEASURES:
            for key, value in run_measure(name, directory).items():
                goal = f"   (goal {GOALS[key]:g})" if key in GOALS else ""
                print(f"{key:>15} {value:>16,.2f}{goal}", flush=True)
    finally:
        if options.keep is None:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
