"""P(this answer is right), as far as one can tell without labels: `confidence.from` worked out.

    checks      the operator's rules over values of the answer: exact, 0 or 1
    schema      the JSON schema the client asked the answer to fit: exact, 0 or 1
    logprobs    the geometric mean of the tokens' probabilities
    agreement   whether a second backend's answer has the same value
    judge       what a judge backend says

The value is the lowest of the signals that are known, but that two answers which agree are taken
for right: of all signals measured this one tells most. An empty answer, one cut by its token
limit and one the backend's filter stopped count 0 whatever the signals. Probabilities of tokens
say how sure the model was of its words; nothing here calibrates that to how often it is right.
Summed log-probabilities fall with length and rank answers by it, so means and quantiles are
used, never the sum.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from .plausibility import check_passes
from .schema_check import SchemaCheck
from .step import AsideKind
from .values import agree
from .words import Route

CUT_REASONS = {"length": "cut by its token limit", "content_filter": "stopped by a filter"}

SignalValue = float | bool | None


class Answer(msgspec.Struct, frozen=True):
    """What one choice of a whole answer holds."""

    text: str | None
    finish_reason: str | None = None
    token_logprobs: tuple[float, ...] | None = None
    """Natural logarithms, one a token, in order."""
    has_tool_calls: bool = False


class Confidence(msgspec.Struct, frozen=True):
    """`value` None: no signal tells anything of this answer."""

    value: float | None
    signals: dict[str, SignalValue]
    """Every signal looked at; None where it is unknown."""
    reason: str


def judge(
    route: Route,
    answer: Answer,
    *,
    prompt_text: str,
    response_schema: object | None,
    other: Answer | None = None,
    judged: float | None = None,
) -> Confidence:
    """How far an answer is trusted. Routes without a `confidence` get no value.

    `prompt_text` is read only by checks with `in_prompt`; `response_schema` is the client's.
    `other` is the answer of `agree_with`, None where it was not asked or failed. `judged` is what
    the judge says, 0..1; None where it hung, failed or said something else.
    """
    rule = route.confidence
    if rule is None:
        return Confidence(None, {}, "not judged on this route")
    spoilt = _spoilt(answer)
    if spoilt is not None:
        return Confidence(0.0, {}, spoilt)
    signals: dict[str, SignalValue] = {}
    document = _Document(answer.text or "")
    if "checks" in rule.signals:
        signals |= _checks(route, document, prompt_text)
    if "schema" in rule.signals:
        signals["schema"] = _schema(response_schema, document)
    if "logprobs" in rule.signals:
        signals |= _logprobs(answer.token_logprobs)
    if "agreement" in rule.signals:
        signals["agreement"] = _agreement(answer, other)
    if rule.judge is not None:
        signals["judge"] = _probability(judged)
    return _combine(signals)


def undecided_by(route: Route, found: Confidence) -> tuple[AsideKind, ...]:
    """Whose word could still change a confidence, in the order in which to ask."""
    rule = route.confidence
    if rule is None or _is_settled(found):
        return ()
    asides: list[AsideKind] = []
    if "agreement" in rule.signals and found.signals.get("agreement") is None:
        asides.append("agreement")
    if rule.judge is not None and found.signals.get("judge") is None:
        is_doubted = isinstance(rule.accept, float) and (found.value or 1.0) < rule.accept
        if not is_doubted:  # a judge can only lower it further
            asides.append("judge")
    return tuple(asides)


def _is_settled(found: Confidence) -> bool:
    """Spoilt, failed or agreed upon: nothing more can be said of it."""
    is_spoilt = not found.signals and found.value is not None
    is_failed = any(value is False for value in found.signals.values())
    return is_spoilt or is_failed or found.signals.get("agreement") is True


def _agreement(answer: Answer, other: Answer | None) -> bool | None:
    """Whether two independent answers have the same value; a spoilt one says nothing."""
    if other is None or _spoilt(other) is not None:
        return None
    if answer.has_tool_calls or other.has_tool_calls:
        return None
    return agree(answer.text or "", other.text or "")


def _probability(value: float | None) -> float | None:
    return value if value is not None and 0.0 <= value <= 1.0 else None


def _spoilt(answer: Answer) -> str | None:
    """What makes an answer worthless before it is read."""
    cut = CUT_REASONS.get(answer.finish_reason or "")
    if cut is not None:
        return cut
    is_empty = not (answer.text and answer.text.strip()) and not answer.has_tool_calls
    return "empty" if is_empty else None


def _combine(signals: dict[str, SignalValue]) -> Confidence:
    failed = [name for name, value in signals.items() if value is False]
    if failed:
        return Confidence(0.0, signals, f"failed: {', '.join(failed)}")
    passed = [name for name, value in signals.items() if value is True]
    if "agreement" in passed:
        return Confidence(1.0, signals, f"passed: {', '.join(passed)}")
    mean, judged = signals.get("logprob_mean"), signals.get("judge")
    known = {} if mean is None else {"tokens": math.exp(mean)}
    if judged is not None:
        known["judge"] = judged
    if known:
        value = min(known.values())
        said = ", ".join([f"{name} {share:.3g}" for name, share in known.items()])
        return Confidence(value, signals, f"{said}{_also(passed)}")
    if passed:
        return Confidence(1.0, signals, f"passed: {', '.join(passed)}")
    return Confidence(None, signals, "no signal")


def _also(passed: Sequence[str]) -> str:
    return f", passed: {', '.join(passed)}" if passed else ""


class _Document:
    """The answer's text as JSON, read when first asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._value: Any = None
        self._is_json: bool | None = None

    def read(self) -> tuple[bool, Any]:
        """(whether it is JSON, the value)."""
        if self._is_json is None:
            try:
                self._value = msgspec.json.decode(self._text.encode("utf-8", "surrogatepass"))
                self._is_json = True
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._is_json = False
        return self._is_json, self._value


def _checks(route: Route, document: _Document, prompt_text: str) -> dict[str, SignalValue]:
    if not route.checks:
        return {}
    is_json, value = document.read()
    return {
        f"check:{check.name}": is_json and check_passes(check, value, prompt_text)
        for check in route.checks
    }


def _schema(response_schema: object | None, document: _Document) -> bool | None:
    """Whether the answer fits; None where no schema was asked for or it cannot be used."""
    if response_schema is None:
        return None
    try:
        schema = SchemaCheck(response_schema)
    except ValueError:
        return None  # the client's schema, and the backend's to refuse
    is_json, value = document.read()
    return is_json and schema.fits(value)


def _logprobs(logprobs: tuple[float, ...] | None) -> dict[str, SignalValue]:
    usable = [min(value, 0.0) for value in logprobs or () if not math.isnan(value)]
    if not usable:
        return {"logprob_mean": None}
    ordered = sorted(usable)
    return {
        "logprob_mean": sum(usable) / len(usable),
        "logprob_min": ordered[0],
        "logprob_p10": ordered[len(ordered) // 10],
        "logprob_p50": ordered[len(ordered) // 2],
    }
