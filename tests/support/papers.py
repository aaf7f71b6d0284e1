"""The papers as tests read them: fenced blocks, console transcripts, links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; `line` is that of its opening fence."""

    file: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a transcript, and the output shown under it."""

    text: str
    output: str


def blocks(file: Path, language: str) -> list[Block]:
    """All blocks of one language, in order."""
    text = file.read_text("utf-8")
    return [
        Block(file, text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in _FENCE.finditer(text)
        if found[1] == language
    ]


def commands(block: Block) -> Iterator[Command]:
    """The lines after `$ `, with the lines a trailing backslash continues them by."""
    lines = block.text.splitlines()
    index = 0
    while index < len(lines):
        assert lines[index].startswith("$ "), f"{block}: {lines[index]!r} belongs to no command"
        command = [lines[index].removeprefix("$ ")]
        while command[-1].endswith("\\"):
            index += 1
            command.append(lines[index])
        index += 1
        output = []
        while index < len(lines) and not lines[index].startswith("$ "):
            output.append(lines[index])
            index += 1
        yield Command("\n".join(command), "\n".join(output))


def links(file: Path) -> list[str]:
    """Targets of Markdown links, code left out."""
    prose = _FENCE.sub("", file.read_text("utf-8"))
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def anchors(file: Path) -> set[str]:
    """What a heading is called in a link."""
    prose = _FENCE.sub("", file.read_text("utf-8"))
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in headings}


def table_words(file: Path) -> set[str]:
    """Everything in `code` in the first or second column of a table, and in lists below it."""
    return set(re.findall(r"`([^`\n]+)`", _FENCE.sub("", file.read_text("utf-8"))))
