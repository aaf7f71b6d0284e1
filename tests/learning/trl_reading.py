"""Run by test_formats.py in the environment that trains: our files in TRL's own trainers."""

import json
import sys
from pathlib import Path

import datasets
import transformers
import trl
from tiny_training import TEMPLATE, make_base


def main(folder: Path) -> None:
    """One step of each trainer."""
    make_base(folder / "base")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "base")
    tokenizer.chat_template = TEMPLATE
    usual = {"max_steps": 1, "per_device_train_batch_size": 2, "report_to": [], "use_cpu": True,
             "output_dir": str(folder / "out"), "save_strategy": "no"}  # fmt: skip
    for name, trainer, config in (
        ("trl-prompt-completion", trl.SFTTrainer, trl.SFTConfig(**usual)),
        ("trl-dpo", trl.DPOTrainer, trl.DPOConfig(**usual)),
        ("trl-kto", trl.KTOTrainer, trl.KTOConfig(**usual)),
    ):
        told = json.loads((folder / f"{name}.features.json").read_text())
        rows = datasets.load_dataset(
            "json", data_files=str(folder / name), cache_dir=str(folder / "cache"),
            features=datasets.Features.from_dict(told),
        )["train"]  # fmt: skip
        model = transformers.AutoModelForCausalLM.from_pretrained(folder / "base")
        made = trainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)
        loss = made.train().training_loss
        sys.stdout.write(f"{name} {len(rows)} rows, loss {loss:.3f}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
