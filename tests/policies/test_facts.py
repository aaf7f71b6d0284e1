from policies.facts import Expect


def test_expectation_is_stated_by_any_figure():
    assert Expect(first_token_s=0.1).is_stated
    assert Expect(tokens_per_second=90).is_stated
    assert Expect(completion_tokens=8).is_stated


def test_empty_expectation_is_not_stated():
    assert not Expect().is_stated
