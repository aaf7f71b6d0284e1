"""What a decision costs: with text features (300 characters, 3 candidates), without, by routes.

    python -m benchmarks.decision [--rounds 20]

Prints microseconds of one thread, median and 99th percentile over every call, and the memory of
the predictors, beside what they are held to. The model is fitted on the measured outcomes where
they lie beside the project, else on made-up words, and read back as a worker reads it. Beside it
stands the same decision without text features.
"""

import argparse
import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence

from learning.fit import SLOT_BITS_OF_SEVERAL, fit_model, prompt_example
from pointsman.tokens import Price, Usage
from policies.choice import World
from policies.decide import decide
from policies.facts import BackendFacts
from policies.features import parse_chat, read_features
from policies.inquiry import Inquiry, LatencyQuestion
from policies.learned import Learned, Observation
from policies.policy import Policy
from policies.text_model import TextModel
from policies.text_store import model_bytes, read_model
from policies.words import Match, Route

from .outcomes import DATA, read_outcomes

BACKENDS = ("local", "gpt-4", "o3-mini")
P50_MAX_US, P99_MAX_US, MEGABYTES_MAX = 30, 100, 20
TASKS = 1000
SAMPLES_EACH = 30
ROUTES = (1, 500)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    model, prompts, megabytes = fitted()
    learned = learned_megabytes()
    gc.collect()
    gc.freeze()
    answers = 2 * (len(BACKENDS) // 2 + 1) * (8 << SLOT_BITS_OF_SEVERAL) / 1e6
    print(
        f"memory a worker, {len(BACKENDS)} backends: {megabytes:.1f} MB for prompts' n-grams,"
        f" {answers:.1f} MB at most for answers', {learned:.1f} MB for costs and times of"
        f" {TASKS:,} tasks: {megabytes + answers + learned:.1f} MB (at most {MEGABYTES_MAX})"
    )
    print(f"{len(prompts)} prompts of about 300 characters; us of a call: p50, p99"
          f" (with text at most {P50_MAX_US}, {P99_MAX_US})")  # fmt: skip
    task = "professional_law"
    report("P(acceptable), 3 backends", lambda text: model.predict_prompt(text, task),
           prompts, rounds)  # fmt: skip
    for routes in ROUTES:
        decider = Decider(routes, model)
        report(f"decision with text, {routes} routes", decider.with_text, prompts, rounds)
        report(f"decision without, {routes} routes", decider.without, prompts, rounds)


class Decider:
    """Decisions on the last of many routes, as a worker makes them."""

    def __init__(self, routes: int, model: TextModel) -> None:
        facts = {
            name: BackendFacts(name, price=Price(input=1.0 + number, output=2.0 + number))
            for number, name in enumerate(BACKENDS)
        }
        words = [
            Route(name=f"r{n}", match=Match((f"m{n}",)), candidates=BACKENDS) for n in range(routes)
        ]
        self._policy = Policy([*words, Route(name="default", candidates=BACKENDS)], facts)
        self._model = model
        self._world = World(Learned())
        body = b'{"model": "m%d", "messages": [{"role": "user", "content": "hi"}]}' % (routes - 1)
        self._features = read_features(
            parse_chat(body), body_bytes=len(body), label_headers={}, conversation_header=None,
            caller=None,
        )  # fmt: skip

    def with_text(self, text: str) -> object:
        """Route, P(acceptable), choice."""
        chances = self._model.predict_prompt(text, self._features.task)
        return self._decide(dict(zip(self._model.backends, chances, strict=True)))

    def without(self, _: str) -> object:
        """Route and choice."""
        return self._decide(None)

    def _decide(self, acceptable: dict[str, float] | None) -> object:
        match = self._policy.route_for(self._features.model, self._features.labels)
        assert match is not None
        return decide(
            self._policy, match, self._features, self._world, decision_id="d", seed=1,
            acceptable=acceptable,
        )  # fmt: skip


def fitted() -> tuple[TextModel, list[str], float]:
    """The model, prompts of about 300 characters, the model's megabytes."""
    path = DATA / "routing" / "mmlu_outcomes.csv.gz"
    chance = random.Random(0)
    if path.is_file():
        rows = read_outcomes(path)
        texts = [(row.prompt, row.task) for row in rows]
        labels: list[int | None] = [row.weak for row in rows]
    else:
        words = [f"w{number}" for number in range(20_000)]
        texts = [(" ".join(chance.choices(words, k=50)), "task") for _ in range(2000)]
        labels = [int(chance.random() < 0.7) for _ in texts]
    examples = [prompt_example(*text) for text in texts]
    data = model_bytes(fit_model(examples, dict.fromkeys(BACKENDS, labels)))
    gc.collect()
    tracemalloc.start()
    model = read_model(data)
    megabytes = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    return model, [text for text, _ in texts if 270 <= len(text) <= 330][:500], megabytes


def learned_megabytes() -> float:
    """What costs and times of many tasks take in a worker that has decided on all of them."""
    chance = random.Random(0)
    seen = Learned()
    for number in range(TASKS * SAMPLES_EACH):
        for name in BACKENDS:
            took_s = chance.lognormvariate(0.0, 1.0)
            usage = Usage(200, chance.randrange(10, 900))
            size = chance.randrange(100, 100_000)
            one = Observation(name, f"t{number % TASKS}", size, usage, took_s / 3, took_s, True)
            seen.observe(one, number * 0.1)
    data = seen.to_bytes(0.0)
    del seen
    gc.collect()
    tracemalloc.start()
    learned = Learned.from_bytes(bytes(bytearray(data)))
    question = LatencyQuestion("total", 0.9, 1.0)
    for number in range(TASKS):
        for name in BACKENDS:
            inquiry = Inquiry(question, f"t{number}", 10, None)
            learned.predict(BackendFacts(name), inquiry)
    gc.collect()
    megabytes = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    return megabytes


def report(name: str, call: Callable[[str], object], prompts: Sequence[str], rounds: int) -> None:
    """Time every call."""
    for text in prompts:
        call(text)
    taken = []
    for _ in range(rounds):
        for text in prompts:
            started_ns = time.perf_counter_ns()
            call(text)
            taken.append(time.perf_counter_ns() - started_ns)
    taken.sort()
    middle, tail = taken[len(taken) // 2] / 1000, taken[len(taken) * 99 // 100] / 1000
    print(f"  {name:34} {middle:6.1f} {tail:6.1f}", flush=True)


if __name__ == "__main__":
    main()
