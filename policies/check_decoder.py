"""`checks:` -> plausibility rules by name."""

from pointsman import decoding
from pointsman.decoding import Findings, Section
from pointsman.document import Node

from .plausibility import pointer_parts
from .schema_check import SchemaCheck
from .words import Check


def decode_checks(node: Node | None, findings: Findings) -> dict[str, Check]:
    """Every check of the section; faulty ones too, so that using them is no second error."""
    if node is None:
        return {}
    section = Section(node, findings, "checks")
    checks = {}
    given = section.keys()
    for name in given:
        inner = section.subsection(name, f"check {name!r}")
        assert inner is not None  # the key is there
        checks[name] = _decode_check(name, inner)
    return checks


def _decode_check(name: str, section: Section) -> Check:
    at = section.read("at", _pointer, "")
    schema = section.read("schema", _schema)
    in_prompt = section.read("in_prompt", decoding.boolean, False)
    if "schema" not in section and not in_prompt:
        section.findings.error(
            section.at, f"{section.what} checks nothing; give it schema: or in_prompt: true"
        )
    section.done()
    return Check(name, at, schema, in_prompt)


def _pointer(node: Node) -> str:
    pointer = decoding.text(node)
    pointer_parts(pointer)
    return pointer


def _schema(node: Node) -> SchemaCheck:
    return SchemaCheck(decoding.plain(node))
