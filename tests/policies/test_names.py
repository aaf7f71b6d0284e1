import pytest

from tests.support.policy_cases import errors_of, route_of

DEFAULT = ", default: {candidates: [gpt-4]}"


def test_one_name_may_stand_without_brackets():
    assert route_of("candidates: local").route.candidates == ("local",)


def test_backend_that_does_not_exist_is_refused_with_the_nearest():
    assert errors_of("routes: {default: {candidates: [gpt4]}}") == [
        "1:33: candidates: no backend 'gpt4'; did you mean 'gpt-4'?"
    ]


def test_check_that_does_not_exist_is_refused():
    assert errors_of(
        "checks: {right: {in_prompt: true}}\n"
        "routes: {default: {candidates: [gpt-4], checks: [rihgt]}}"
    ) == ["2:50: checks: no check 'rihgt'; did you mean 'right'?"]


def test_name_listed_twice_is_refused():
    assert errors_of("routes: {default: {candidates: [gpt-4, local, gpt-4]}}") == [
        "1:20: candidates: 'gpt-4' is listed 2 times"
    ]


@pytest.mark.parametrize("words", ["candidates: []", "candidates: [gpt-4], escalate: {to: []}"])
def test_empty_list_is_refused(words):
    errors = errors_of(f"routes: {{default: {{{words}}}}}")
    assert len(errors) == 1
    assert "the list is empty" in errors[0]


def test_a_map_is_no_list_of_names():
    errors = errors_of("routes: {default: {candidates: {a: 1}}}")
    assert errors == ["1:32: candidates: expected text, not a mapping"]


@pytest.mark.parametrize("name", ["a b", "é", "backend:x", "-a", "x" * 65, "a\\tb"])
def test_route_name_that_cannot_be_a_header_is_refused(name):
    errors = errors_of(f'routes: {{"{name}": {{candidates: [gpt-4]}}{DEFAULT}}}')
    assert len(errors) == 1
    assert "route name" in errors[0]
