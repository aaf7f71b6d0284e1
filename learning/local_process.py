"""The process that serves a GGUF model with xllamacpp: `python -m learning.local_process`.

It is a process of its own because the server inside is C++ with its own threads. It ends when
its standard input does, so it never outlives the one that started it.

The base model was trained on text, not on conversations: given Gemma's own turn markers it
repeats the question (tried: 8 of 8). `TEMPLATE` therefore writes a conversation as questions
and answers, with two solved ones in front: of 20 short questions all got a short answer and 11
the right one. Whoever trains on captures of this server must train with this template.
"""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEMPLATE = """\
Question: What is the capital of Italy?
Answer: Rome
Question: What is 2 + 3?
Answer: 5
{% for message in messages %}{% if message.role == 'system' %}{{ message.content | trim }}
{% elif message.role == 'user' %}Question: {{ message.content | trim }}
{% else %}Answer: {{ message.content | trim }}
{% endif %}{% endfor %}{% if add_generation_prompt %}Answer:{% endif %}"""

SLOTS = 2
CONTEXT_TOKENS = 2048  # of each slot: the server divides its context by the slots


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the process is told on its command line."""

    model: Path
    port: int
    threads: int
    """Physical cores left free: two threads on two busy cores fell to 2 tokens a second."""
    template: Path | None = None
    """A chat template in Jinja, the one the model was trained with; None: that of this page."""

    def arguments(self) -> list[str]:
        """As `main` reads them."""
        words = [str(self.model), str(self.port), str(self.threads)]
        return words if self.template is None else [*words, str(self.template)]


def parameters(options: ServerOptions) -> Any:
    """xllamacpp's parameters for `options`. Raises ModuleNotFoundError without the extra."""
    wanted = importlib.import_module("xllamacpp").CommonParams()
    wanted.model.path = str(options.model)
    wanted.model_alias = {options.model.stem}
    wanted.n_parallel = SLOTS
    wanted.n_ctx = SLOTS * CONTEXT_TOKENS
    wanted.cpuparams.n_threads = options.threads
    wanted.cpuparams_batch.n_threads = options.threads
    wanted.hostnames = ["127.0.0.1"]
    wanted.port = options.port
    wanted.warmup = True
    wanted.use_jinja = True
    template = options.template
    wanted.chat_template = TEMPLATE if template is None else template.read_text("utf-8")
    return wanted


def main(arguments: list[str]) -> None:
    """Serve until standard input ends."""
    model, port, threads, *rest = arguments
    template = Path(rest[0]) if rest else None
    options = ServerOptions(Path(model), int(port), int(threads), template)
    server = importlib.import_module("xllamacpp").Server(parameters(options))
    sys.stdin.buffer.read()
    del server


if __name__ == "__main__":
    main(sys.argv[1:])
