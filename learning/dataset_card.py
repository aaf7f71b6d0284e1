"""The card of a data set: what it is, for people, in Markdown. Pure."""

from typing import TYPE_CHECKING, Any

import msgspec

from .dataset_spec import DatasetSpec
from .example import REASONS

if TYPE_CHECKING:
    from .dataset_report import DatasetReport


def card(report: "DatasetReport", spec: DatasetSpec) -> str:
    """The whole page."""
    tokens = "estimated from bytes" if report.are_tokens_estimated else "the student's tokenizer"
    sections = [
        f"# {report.id}",
        f"{report.n_rows} examples of {report.captures} captures.",
        _table("Split", ("split", "rows"), report.splits),
        f"{report.groups} groups (conversation, same or nearly the same question); groups on two"
        f" sides of the split: {report.overlap}. A split by row would have put"
        f" {report.naive_leaks:.1%} of its test rows beside a train row.",
        _table("Where the answers come from", ("source", "rows"), report.label_sources),
        _table(f"Tokens ({tokens})", ("quantile", "tokens"), report.tokens),
        _excluded(report.excluded),
        _table("Masked", ("kind", "times"), report.masked) if spec.redact else
        "Personal data was **not** masked.",
        _pruned(report, spec),
        _table("Most frequent answers", ("answer", "rows"), report.classes),
        "## Made of",
        f"content sha256 `{report.content_sha256}`, specification sha256 `{report.spec_hash}`",
        f"```json\n{_pretty(spec)}\n```",
    ]  # fmt: skip
    return "\n\n".join(section for section in sections if section) + "\n"


def _table(title: str, heads: tuple[str, str], rows: dict[str, int]) -> str:
    if not rows:
        return ""
    lines = [f"## {title}", "", f"| {heads[0]} | {heads[1]} |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {_cell(key)} | {value} |" for key, value in rows.items())])


def _excluded(counts: dict[str, int]) -> str:
    if not any(counts.values()):
        return ""
    lines = ["## Left out", "", "| code | rows | meaning |", "|---|---:|---|"]
    lines += [
        f"| {code} | {count} | {REASONS.get(code, '')} |" for code, count in counts.items() if count
    ]
    return "\n".join(lines)


def _pruned(report: "DatasetReport", spec: DatasetSpec) -> str:
    if not spec.prune_prefix:
        return ""
    rules = ", ".join(f"{route} `{rule['id']}`" for route, rule in report.prefixes.items())
    return (
        f"The constant beginning of prompts was removed ({rules or 'none found'}):"
        f" {report.tokens_pruned} tokens; {report.rows_unpruned} rows begin otherwise. Whoever"
        " serves the student strips it by the same rule."
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split()) or "(empty)"


def _pretty(spec: DatasetSpec) -> str:
    plain: Any = msgspec.to_builtins(spec)
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()
