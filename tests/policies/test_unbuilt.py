from pointsman.decoding import Findings
from pointsman.document import Position
from policies.unbuilt import UNBUILT, note_use

AT = Position("config.yaml", 7, 3)


def test_word_without_effect_is_warned_about_with_its_line():
    for word in UNBUILT:
        findings = Findings()
        note_use(findings, AT, word)
        assert [str(warning) for warning in findings.warnings] == [
            f"config.yaml:7:3: accepted, not yet in effect: {word} (config.yaml:7)"
        ]
        assert not findings.errors


def test_word_in_effect_passes():
    findings = Findings()
    note_use(findings, AT, "candidates")
    assert not findings.warnings


def test_words_of_this_issue_are_not_listed():
    assert UNBUILT.isdisjoint({"checks", "schema", "logprobs", "escalate", "on_failure", "hedge"})
