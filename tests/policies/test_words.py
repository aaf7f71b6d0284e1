import pytest

from policies.words import ConfidenceRule, Route, Timeout


def test_route_is_frozen():
    route = Route(name="r", candidates=("gpt-4",))
    with pytest.raises(AttributeError):
        route.name = "other"


def test_accept_of_checks_alone_lies_between_failed_and_passed():
    assert 0 < ConfidenceRule().accept < 1
    assert ConfidenceRule().signals == ("checks", "schema")


def test_default_timeouts_fit_into_each_other():
    timeout = Timeout()
    assert timeout.idle_s < timeout.first_token_s < timeout.total_s
