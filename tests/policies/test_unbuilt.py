from pointsman.decoding import Findings
from pointsman.document import Position
from policies import unbuilt
from policies.unbuilt import UNBUILT, note_use

AT = Position("config.yaml", 7, 3)


def test_word_without_effect_is_warned_about_with_its_line(monkeypatch):
    monkeypatch.setattr(unbuilt, "UNBUILT", frozenset({"tomorrow"}))
    findings = Findings()
    note_use(findings, AT, "tomorrow")
    assert [str(warning) for warning in findings.warnings] == [
        "config.yaml:7:3: accepted, not yet in effect: tomorrow (config.yaml:7)"
    ]
    assert not findings.errors


def test_word_in_effect_passes():
    findings = Findings()
    note_use(findings, AT, "candidates")
    assert not findings.warnings


def test_every_word_is_in_effect():
    assert frozenset() == UNBUILT
