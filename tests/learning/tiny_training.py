"""Run by test_train_process.py in the environment that trains."""

import contextlib
import io
import json
import sys
from pathlib import Path

import tokenizers
import torch
import transformers

from learning import train_process

TEMPLATE = (
    "{% for m in messages %}{{ m.role }} {{ m.content }} <stop> {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)


def make_base(folder: Path) -> None:
    """A Llama of two layers and a tokenizer of a few words."""
    words = ["<unk>", "<pad>", "<stop>", "user", "assistant", *[f"w{n}" for n in range(20)]]
    known = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(words)}, "<unk>")
    )
    known.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=known, unk_token="<unk>", pad_token="<pad>", eos_token="<stop>"
    ).save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


def main(folder: Path) -> None:
    """Train, kill, go on."""
    make_base(folder / "base")
    (folder / "template").write_text(TEMPLATE)
    rows = [
        {"prompt": [{"role": "user", "content": f"w{n}"}],
         "completion": [{"role": "assistant", "content": f"w{n}"}]}
        for n in range(20)
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows)
    for name in ("train", "valid"):
        (folder / name).write_text(text)
    job = {
        "work": str(folder), "base": str(folder / "base"), "template": str(folder / "template"),
        "train": str(folder / "train"), "valid": str(folder / "valid"), "stop": "<stop>",
        "tokens_max": 50, "rank": 16, "learning_rate": 0.02, "batch": 20, "steps": 60,
        "save_every": 10, "threads": 1, "seed": 0, "outtype": "q8_0", "cache": "",
        "precision": "fp32",
    }  # fmt: skip
    train_process.convert = lambda *_: None
    steps: list[int] = []
    original = train_process.tell

    def killed(event: str, **facts: object) -> None:
        original(event, **facts)
        if event == "step":
            steps.append(int(str(facts["step"])))
            if len(steps) == 13:
                raise KeyboardInterrupt

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        train_process.tell = killed
        with contextlib.suppress(KeyboardInterrupt):
            train_process.run(job)
        train_process.run(job)
    events = [json.loads(line) for line in said.getvalue().splitlines() if line.startswith("{")]
    losses = json.loads((folder / "loss.json").read_text())["losses"]
    resumed = [event["step"] for event in events if event["event"] == "resumed"]
    found = {"first": losses[0], "last": losses[-1], "steps": len(losses), "resumed": resumed[0]}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
