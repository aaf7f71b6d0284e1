import pytest

from tests.support.policy_cases import errors_of, policy_of

DEFAULT = "\nroutes: {default: {candidates: [gpt-4]}}"


def test_reads_checks():
    checks = policy_of(
        "checks: {a: {at: /x, schema: {type: number}}, b: {in_prompt: true}}" + DEFAULT
    ).checks
    assert checks["a"].at == "/x"
    assert checks["a"].schema.source == '{"type":"number"}'
    assert not checks["a"].in_prompt
    assert (checks["b"].at, checks["b"].schema, checks["b"].in_prompt) == ("", None, True)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("{at: x, in_prompt: true}", "at: 'x' is not a JSON pointer; write /name or /list/0/name"),
        ("{at: /a~2, in_prompt: true}", "~ is written ~0"),
        ("{at: /x}", "check 'c' checks nothing; give it schema: or in_prompt: true"),
        ("{in_prompt: false}", "check 'c' checks nothing"),
        ("{in_prompt: yes}", "in_prompt: expected true or false, not 'yes'"),
        ("{schema: {type: nmber}}", "schema: not a usable JSON schema"),
        ("{schema: number}", "schema: a JSON schema is a mapping, true or false"),
        ("{schema: {$ref: 'http://localhost/s'}}", "schema: not a usable JSON schema"),
        ("{in_prompts: true}", "unknown key 'in_prompts' in check 'c'; did you mean 'in_prompt'?"),
        ("[a]", "check 'c' must be a mapping, not a list"),
    ],
)
def test_refuses_a_check_that_cannot_be_used(check, message):
    errors = errors_of(f"checks: {{c: {check}}}{DEFAULT}")
    assert any(message in error for error in errors), errors


def test_fault_has_its_position():
    assert errors_of(f"checks:\n  c:\n    at: x\n    in_prompt: true{DEFAULT}") == [
        "3:9: at: 'x' is not a JSON pointer; write /name or /list/0/name"
    ]


def test_faulty_check_is_reported_once_however_often_it_is_used():
    errors = errors_of(
        "checks: {c: {at: x, in_prompt: true}}\n"
        "routes: {default: {candidates: [gpt-4], checks: [c]}}"
    )
    assert len(errors) == 1
