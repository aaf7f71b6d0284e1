"""What was fitted on labels, as one piece: P(acceptable) before a call, and of a given answer.

    prompts   from the words and the shape of what is asked, one head per backend
    answers   from those, the answer's own, what its tokens and the route's signals say

One digest names both: a promise proved with them is void with others (lock.py). Fitted by
`pointsman fit`, read and written in slices by fitted_store.py.
"""

from collections.abc import Sequence
from math import exp
from typing import NamedTuple

import msgspec

from .answer_features import ANSWER_NAMES, answer_numbers
from .text_features import read_part, tokens_of
from .text_model import TextModel

SIGNAL_NAMES = ("is_judged", "confidence", "has_logprobs", "logprob_mean", "logprob_min")
GIVEN_NAMES = (*ANSWER_NAMES, *SIGNAL_NAMES)
PROMPT_BYTES_MAX = 1 << 18
"""Of a request's messages. Of a longer one no words are read, by the fit and when serving: taking
its texts out would stop all other requests for milliseconds."""
UNTOLD = 0.5  # between right and wrong; its flag says that it is no measurement


class Given(NamedTuple):
    """One answer as the model sees it. None: not known."""

    prompt: str
    answer: str
    confidence: float | None
    """As confidence.py works it out."""
    logprob_mean: float | None = None
    logprob_min: float | None = None


class Fitted(msgspec.Struct, frozen=True):
    """See the module. A model that is None had no labels."""

    digest: str
    prompts: TextModel | None = None
    answers: TextModel | None = None

    def acceptable(self, text: str, task: str) -> dict[str, float]:
        """P(acceptable answer) per backend that a prompt's words tell something of."""
        model = self.prompts
        if model is None:
            return {}
        return dict(zip(model.backends, model.predict_prompt(text, task), strict=True))

    def trust(self, backend: str, given: Given, task: str) -> float | None:
        """P(this answer is right); None of a backend that had no labels."""
        model = self.answers
        if model is None or backend not in model.backends:
            return None
        texts, numbers = given_features(given)
        return model.predict(texts, numbers, task)[model.backends.index(backend)]


NOTHING_FITTED = Fitted("")


def given_features(given: Given) -> tuple[tuple[list[bytes], list[bytes]], tuple[float, ...]]:
    """Token lists of prompt and answer, and the figures of GIVEN_NAMES."""
    prompt, answer = read_part(given.prompt), read_part(given.answer)
    numbers = answer_numbers(prompt, answer) + signal_numbers(given)
    return (tokens_of(prompt), tokens_of(answer)), numbers


def signal_numbers(given: Given) -> tuple[float, ...]:
    """The figures of SIGNAL_NAMES. Log-probabilities count as probabilities: -30 is no worse
    than -10."""
    confidence, mean, least = given.confidence, given.logprob_mean, given.logprob_min
    is_judged = confidence is not None and 0.0 <= confidence <= 1.0
    return (
        float(is_judged),
        confidence if is_judged and confidence is not None else UNTOLD,
        float(mean is not None),
        _chance(mean),
        _chance(least),
    )


def logprob_summary(logprobs: Sequence[float] | None) -> tuple[float | None, float | None]:
    """Mean and least, as an attempt's record keeps them."""
    if not logprobs:
        return None, None
    return sum(logprobs) / len(logprobs), min(logprobs)


def _chance(logprob: float | None) -> float:
    """exp, for what may be missing, positive or NaN."""
    return exp(min(0.0, logprob)) if logprob is not None and logprob == logprob else UNTOLD
