"""What needs no torch; the real thing is in the slow test at the end, where it is installed."""

import json
import os
import subprocess
from itertools import chain
from pathlib import Path

import pytest

from learning.train_process import JobRefused, batches_of, main, pace, read_rows, tokens_of

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-train" / "bin" / "python"
TEMPLATE = "T"
STOP = 9


class Tokenizer:
    """Words are tokens; `<stop>` is 9. Renders turns as lines."""

    unk_token_id = 0

    def convert_tokens_to_ids(self, token):
        return STOP if token == "<stop>" else 0

    def apply_chat_template(
        self, messages, *, chat_template, tokenize, add_generation_prompt=False
    ):
        assert chat_template == TEMPLATE
        text = "".join(f"{m['role']} {m['content']} <stop> " for m in messages)
        return text + ("assistant " if add_generation_prompt else "")

    def __call__(self, text, add_special_tokens=True):
        ids = [STOP if word == "<stop>" else len(word) for word in text.split()]
        return type("Found", (), {"input_ids": ([1] if add_special_tokens else []) + ids})


def row(answer="one two", **changes):
    said = {"role": "assistant", "content": answer}
    return {"prompt": [{"role": "user", "content": "hello there"}], "completion": [said], **changes}


def test_a_row_is_prompt_and_completion_as_serving_makes_them():
    prompt, completion = tokens_of(row(), Tokenizer(), TEMPLATE, "<stop>")
    assert prompt == [1, 4, 5, 5, STOP, 9]
    assert completion == [3, 3, STOP]


def test_a_template_whose_prompt_is_no_beginning_is_refused():
    class Odd(Tokenizer):
        def apply_chat_template(self, messages, **words):
            return "x" if words.get("add_generation_prompt") else "y"

    with pytest.raises(JobRefused, match="no beginning"):
        tokens_of(row(), Odd(), TEMPLATE, "<stop>")


def read(tmp_path, *rows, stop="<stop>", tokens_max=50, tokenizer=None):
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    job = {"stop": stop, "tokens_max": tokens_max, "train": str(path)}
    return read_rows(path, tokenizer or Tokenizer(), TEMPLATE, job)


def test_rows_too_long_or_of_no_text_are_counted(tmp_path):
    call = {"role": "assistant", "tool_calls": [{}]}
    rows, counts = read(
        tmp_path, row(), row("w " * 60), {**row(), "completion": [call]}, tokens_max=20
    )
    assert len(rows) == 1
    assert counts == {"rows": 1, "over_length": 1, "not_text": 1, "stop_untrained": 0,
                      "all_masked": 0}  # fmt: skip


def test_what_would_never_stop_is_refused(tmp_path):
    with pytest.raises(JobRefused, match="no token of the base"):
        read(tmp_path, row(), stop="<other>")

    class Silent(Tokenizer):
        def __call__(self, text, add_special_tokens=True):
            return super().__call__(text.replace("<stop>", "."), add_special_tokens)

    with pytest.raises(JobRefused, match="1 rows do not end with"):
        read(tmp_path, row(), tokenizer=Silent())


def test_a_row_without_an_answer_is_refused(tmp_path):
    with pytest.raises(JobRefused, match="1 rows have no answer"):
        read(tmp_path, row(""))
    with pytest.raises(JobRefused, match="no rows to train on"):
        read(tmp_path, row(), tokens_max=2)


def test_batches_are_the_same_every_time_and_cover_the_rows():
    job = {"seed": 1, "steps": 8, "batch": 3}
    lengths = [7, 1, 9, 3, 8, 2, 6, 5, 4, 10]
    batches = list(batches_of(lengths, job))
    assert batches == list(batches_of(lengths, job))
    assert len(batches) == 8
    spans = [[lengths[row] for row in batch] for batch in batches]
    assert (
        max(max(span) - min(span) for span in spans) == 2
    )  # three neighbours each: nothing is padded that need not be
    assert sorted(chain.from_iterable(batches[:4])) == list(range(10))
    assert batches[:4] != batches[4:]


def test_the_pace_goes_up_and_down():
    paces = [pace(step, 100) for step in range(100)]
    assert paces[0] == pytest.approx(0.1)
    assert max(paces) == 1.0
    assert paces[-1] < 0.01


def test_a_failure_is_said_in_a_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(job):
        raise JobRefused("no")

    monkeypatch.setattr("learning.train_process.run", refuse)
    (tmp_path / "job.json").write_text("{}")
    assert main([str(tmp_path / "job.json")]) == 1
    assert json.loads(capsys.readouterr().out) == {"event": "error", "message": "no"}


@pytest.mark.slow
def test_a_tiny_model_learns_and_a_killed_run_goes_on(tmp_path):
    """The real loop on a Llama of two layers, made here; conversion to GGUF is left out."""
    if not PYTHON.is_file():
        pytest.skip("no .venv-train; make train-env")
    script = Path(__file__).with_name("tiny_training.py")
    done = subprocess.run(
        [PYTHON, script, tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["last"] < 0.85 * found["first"]
    assert found["resumed"] == 10
    assert found["steps"] == 60
