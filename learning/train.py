"""Fine-tuning a model of one's own on a data set, in a process and an environment of its own.

    data set -> rows and a job file in models/NAME/.V.work -> train_process.py -> model.gguf
    -> models/NAME/V -> registered with data set, parameters and hashes

The work folder stays where a run is killed; the same command goes on from its last checkpoint.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from . import local, train_process
from .dataset_spec import DatasetName
from .dataset_store import read_examples
from .export import export_dataset
from .loss_plot import loss_plot
from .models import (
    GGUF,
    TEMPLATE,
    Model,
    ModelError,
    file_sha256,
    model_folder,
    next_version,
    register_model,
)
from .pruned_template import pruned_prefix, without_prefix

Say = Callable[[dict[str, Any]], None]

FORMAT: Final = "trl-prompt-completion"
LOG: Final = "train.log"
PLOT: Final = "loss.svg"
MESSAGES_KEPT: Final = ("job.json", "loss.json", LOG)

BASE_TEMPLATE: Final = (
    "{% for message in messages %}{% if message.role == 'assistant' %}"
    "Answer: {{ message.content | trim }}<eos>\n{% else %}"
    "Question: {{ message.content | trim }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Answer:{% endif %}"
)
"""In words, and ended by the token that ends a document. A base model has never seen the markers
of turns: with `<end_of_turn>` the loss fell to 0.17 in 12 steps and 0 of 4 answers ended."""
BASE_STOP: Final = "<eos>"


class TrainOptions(msgspec.Struct, frozen=True):
    """How it is trained. `base`: the demo's model, or a folder in Hugging Face's layout."""

    base: str = local.MODEL_NAME
    template: Path | None = None
    stop: str = BASE_STOP
    epochs: float = 1.0
    steps: int | None = None
    """In place of `epochs`."""
    batch: int = 8
    rank: int = 16
    learning_rate: float = 1e-3
    tokens_max: int = 1024
    outtype: str = "q8_0"
    save_every: int = 10
    precision: str = "auto"
    """Of the frozen weights: bf16, fp32, or auto, which is bf16 where the processor has it."""
    threads: int = 1
    seed: int = 0


class TrainReport(msgspec.Struct):
    """What was trained, and how it went."""

    model: str = ""
    folder: str = ""
    steps: int = 0
    rows: int = 0
    over_length: int = 0
    """Rows dropped whole."""
    not_text: int = 0
    """Rows with tool calls or images, which this template does not write."""
    first_loss: float | None = None
    last_loss: float | None = None
    valid_loss: float | None = None
    stops: float | None = None
    """Share of a few answers that ended by themselves."""
    resumed_at: int | None = None


def train(
    directory: Path,
    dataset: DatasetName,
    name: str,
    options: TrainOptions,
    *,
    python: Path,
    is_fresh: bool = False,
    say: Say = lambda event: None,
    script: Path = Path(train_process.__file__),
) -> TrainReport:
    """Train `name`'s next version on `dataset`. Raises ModelError, LocalModelError, OSError."""
    if not python.is_file():
        raise ModelError(f"no {python}; `make train-env` makes the environment that trains")
    version = next_version(directory, name)
    work = model_folder(directory, name, version).with_name(f".{version}.work")
    if is_fresh:
        shutil.rmtree(work, ignore_errors=True)
    base = _base(options, say)
    job = _job(directory, dataset, work, options, base)
    report = TrainReport()
    _run([str(python), str(script), str(work / "job.json")], work / LOG, report, say)
    losses = json.loads((work / "loss.json").read_text("utf-8"))["losses"]
    report.steps = len(losses)
    report.first_loss, report.last_loss = losses[0], losses[-1]
    folder = _finish(directory, name, version, work, losses)
    model = register_model(
        directory,
        DatasetName(name, version),
        base=options.base,
        base_sha256=file_sha256(base) if base.is_file() else _folder_sha256(base),
        dataset_id=dataset.id,
        params={**job, "report": msgspec.to_builtins(report)},
    )
    report.model, report.folder = model.id, str(folder)
    return report


def prepare_base(python: Path, script: Path = Path(train_process.__file__)) -> None:
    """Fetch and unpack the base beforehand, once for a machine; else the first training does.

    Raises ModelError, LocalModelError.
    """
    base = local.obtain(local.cache_directory(), lambda line: None)
    if (_unpacked() / "config.json").is_file():
        return
    command = [str(python), str(script), "--unpack", str(base), str(_unpacked())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelError((done.stdout.strip() or done.stderr.strip())[-600:])


def _unpacked() -> Path:
    """Where a base that came as GGUF is kept as training needs it."""
    return local.cache_directory() / f"{local.MODEL_NAME}-hf"


def _base(options: TrainOptions, say: Say) -> Path:
    """The demo's model, fetched where it is not there, or a folder."""
    if options.base == local.MODEL_NAME:
        return local.obtain(
            local.cache_directory(), lambda line: say({"event": "doing", "what": line})
        )
    base = Path(options.base)
    if not (base / "config.json").is_file():
        raise ModelError(f"{base} is neither {local.MODEL_NAME} nor a folder with a config.json")
    return base


def _job(
    directory: Path, dataset: DatasetName, work: Path, options: TrainOptions, base: Path
) -> dict[str, object]:
    """Rows, template and job file in the work folder; those of a killed run are used again."""
    template = options.template.read_text("utf-8") if options.template else BASE_TEMPLATE
    prefix = pruned_prefix(directory, dataset)
    if prefix is not None:
        template = without_prefix(template, prefix.messages)
    rows = {
        split: sum(1 for _ in read_examples(directory, dataset, splits=frozenset((split,))))
        for split in ("train", "valid")
    }
    if not rows["train"]:
        raise ModelError(f"{dataset.id} has no rows to train on")
    per_epoch = -(-rows["train"] // options.batch)
    settings = msgspec.to_builtins(options, enc_hook=str)
    job: dict[str, object] = {
        **settings,
        "dataset": dataset.id,
        "prefix": None if prefix is None else prefix.id,
        "steps": options.steps or max(1, round(options.epochs * per_epoch)),
        "base": str(base),
        "cache": str(_unpacked()),
        "work": str(work),
        "train": str(work / "train.jsonl"),
        "valid": str(work / "valid.jsonl"),
        "template": str(work / TEMPLATE),
        "template_sha256": hashlib.sha256(template.encode()).hexdigest(),
    }
    text = json.dumps(job, indent=1, sort_keys=True)
    path = work / "job.json"
    if path.is_file():
        if path.read_text("utf-8") != text:
            raise ModelError(f"{work} holds a run with other settings; --fresh begins anew")
        return job
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700, parents=True)
    for split in rows:
        export_dataset(
            directory, dataset, work / f"{split}.jsonl", format_name=FORMAT,
            splits=frozenset((split,)),
        )  # fmt: skip
    (work / TEMPLATE).write_text(template, "utf-8")
    path.write_text(text, "utf-8")
    return job


def _run(command: list[str], log: Path, report: TrainReport, say: Say) -> None:
    """The process to its end; what it says on the way goes to `say` and the report."""
    with log.open("ab") as errors, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=errors, text=True, stdin=subprocess.DEVNULL
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            failure = _listen(process.stdout, report, say)
        except BaseException:
            process.terminate()
            raise
    if process.returncode or failure:
        raise ModelError(failure or f"training ended with code {process.returncode}; see {log}")


def _listen(lines: Iterator[str], report: TrainReport, say: Say) -> str | None:
    """Events into the report; the reason where it failed."""
    failure = None
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a library's word that is not for us
        kind = event.get("event")
        if kind == "error":
            failure = str(event["message"])
        elif kind == "checked":
            report.rows = event["rows"]
            report.over_length, report.not_text = event["over_length"], event["not_text"]
        elif kind == "trained":
            report.valid_loss = event["valid_loss"]
        elif kind == "stops":
            report.stops = event["share"]
        elif kind == "resumed":
            report.resumed_at = event["step"]
        say(event)
    return failure


def _finish(directory: Path, name: str, version: int, work: Path, losses: list[float]) -> Path:
    """What is kept, in the model's own folder; the rest goes."""
    (work / PLOT).write_text(loss_plot(losses), "utf-8")
    folder = model_folder(directory, name, version)
    aside = folder.with_name(f".{version}.done")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    for kept in (GGUF, TEMPLATE, PLOT, *MESSAGES_KEPT):
        shutil.move(work / kept, aside / kept)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    shutil.rmtree(work)
    return folder


def _folder_sha256(folder: Path) -> str:
    """Over the names and hashes of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def next_commands(model: Model | str) -> list[str]:
    """What to do with a trained model."""
    return [
        f"pointsman model serve {model}",
        "# under backends: the line it prints; then:",
        "pointsman benchmark --dataset DATASET --split test --backend THE-NEW-ONE",
    ]
