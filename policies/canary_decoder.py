"""`canary:` -> how a new backend may take over from an old one."""

from typing import Literal

from pointsman import decoding
from pointsman.decoding import Section
from pointsman.document import Node

from .clause_decoder import read_quantiles
from .names import Names, one_of
from .words import Canary, CanaryEnd, KeepIf

MIN_SAMPLES_DEFAULT = 500
_ENDS: tuple[CanaryEnd, ...] = ("promote", "hold")
Stage = float | Literal["shadow"]


def decode_canary(section: Section, names: Names, candidates: tuple[str, ...]) -> Canary | None:
    """`canary:`; `replaces` may be left out where there is one candidate only."""
    section.require("backend", "keep_if")
    backend = section.read("backend", names.backend)
    only = candidates[0] if len(candidates) == 1 else None
    replaces = section.read("replaces", names.backend, only)
    stages = _decode_stages(section)
    keep = section.subsection("keep_if")
    keep_if = _decode_keep_if(keep) if keep is not None else None
    min_samples = section.read("min_samples", decoding.integer(1), MIN_SAMPLES_DEFAULT)
    then = section.read("then", one_of(_ENDS), _ENDS[1])
    section.done()
    _check_backends(section, backend, replaces, candidates)
    if backend is None or replaces is None or keep_if is None:
        return None
    return Canary(backend, replaces, stages, keep_if, min_samples, then)


def _check_backends(
    section: Section, backend: str | None, replaces: str | None, candidates: tuple[str, ...]
) -> None:
    if "replaces" not in section and replaces is None:
        section.findings.error(section.at, f"{section.what} needs 'replaces': which candidate?")
    if replaces is not None and replaces not in candidates:
        section.findings.error(
            section.at_key("replaces"), f"replaces: {replaces!r} is not one of the candidates"
        )
    if backend is not None and backend in candidates:
        section.findings.error(
            section.at_key("backend"), f"backend: {backend!r} is a candidate already"
        )


def _decode_stages(section: Section) -> tuple[Stage, ...]:
    if ("stages" in section) == ("share" in section):
        section.findings.error(
            section.at, f"{section.what} needs either share: 5% or stages: [shadow, 1%, 10%, 100%]"
        )
    share = section.read("share", decoding.share)
    stages = section.each("stages", _stage)
    shares = [stage for stage in stages if not isinstance(stage, str)]
    if list(stages[-len(shares) :] if shares else []) != shares or shares != sorted(set(shares)):
        section.findings.error(
            section.at_key("stages"), "stages: shadow comes first, then shares that grow"
        )
    return stages if share is None else (share,)


def _stage(node: Node) -> Stage:
    return "shadow" if decoding.text(node) == "shadow" else decoding.share(node)


def _decode_keep_if(section: Section) -> KeepIf | None:
    quantiles = read_quantiles(section)
    error = section.read("error", decoding.change)
    cost = section.read("cost", decoding.change)
    section.done()
    if len(quantiles) > 1:
        section.findings.error(section.at, f"{section.what} takes one latency limit")
    if not section.keys():
        section.findings.error(section.at, f"{section.what} is empty: what must the canary keep?")
    quantile, span_s = quantiles[0] if quantiles else (None, None)
    return KeepIf(error, quantile, span_s, cost)
