"""Training on another machine: the files that other trainers read, and the commands that read them.

    DIR/trl/         train.jsonl, trl.yaml      trl sft --config trl.yaml
    DIR/axolotl/     train.jsonl and its YAML   axolotl train ...
    DIR/llamafactory/  and dataset_info.json    llamafactory-cli train ...

Written aside and renamed: DIR is whole or not there.
"""

import os
import shutil
from pathlib import Path
from typing import Final, NamedTuple

from .dataset_spec import DatasetName
from .export import export_dataset
from .models import ModelError

BASE: Final = "BASE"
TRL: Final = """\
model_name_or_path: {base}
output_dir: adapter
use_peft: true
lora_r: 16
lora_alpha: 32
learning_rate: 1.0e-3
num_train_epochs: 1
datasets:
  - path: json
    data_files: train.jsonl
"""


class Trainer(NamedTuple):
    """Who reads which format, and how it is called in its folder."""

    name: str
    format_name: str
    file: str
    command: str


TRAINERS: Final = (
    Trainer("trl", "trl-prompt-completion", "train.jsonl", "trl sft --config trl.yaml"),
    Trainer(
        "axolotl",
        "axolotl",
        "train.jsonl",
        "axolotl train train.jsonl.yaml --base-model {base} --adapter lora",
    ),
    Trainer(
        "llamafactory",
        "llamafactory",
        "train.jsonl",
        "llamafactory-cli train stage=sft do_train=true finetuning_type=lora"
        " dataset_dir=. dataset={dataset} model_name_or_path={base} output_dir=adapter",
    ),
)
SERVING: Final = (
    "vllm serve {base} --enable-lora --lora-modules student=adapter   # or the merged model;"
    " OpenAI-compatible, logprobs included"
)


def export_elsewhere(
    directory: Path, dataset: DatasetName, folder: Path, *, base: str = BASE
) -> list[str]:
    """Write a folder for each trainer; the commands. Raises ModelError, DatasetError, OSError."""
    if folder.exists():
        raise ModelError(f"{folder} is there already; name a folder that is not")
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        for trainer in TRAINERS:
            inner = aside / trainer.name
            inner.mkdir(parents=True)
            export_dataset(
                directory, dataset, inner / trainer.file, format_name=trainer.format_name
            )
        info = aside / "llamafactory" / "train.jsonl.dataset_info.json"
        info.rename(info.with_name("dataset_info.json"))
        (aside / "trl" / "trl.yaml").write_text(TRL.format(base=base), "utf-8")
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return commands(dataset, folder, base=base)


def commands(dataset: DatasetName, folder: Path, *, base: str = BASE) -> list[str]:
    """What to run on the other machine, and how to serve what it makes."""
    found = [
        f"cd {folder / trainer.name} && " + trainer.command.format(base=base, dataset=dataset.name)
        for trainer in TRAINERS
    ]
    return [*found, SERVING.format(base=base)]
