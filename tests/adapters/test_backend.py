"""A backend as it is declared, and where the simulator puts it."""

from adapters.backend import Backend, simulated_prefix, with_simulator
from adapters.simulated.profile import Profile
from pointsman.tokens import Price


def test_the_simulator_gives_each_simulated_backend_a_path() -> None:
    played = Backend(name="a/b", adapter="simulated", model="m", profile=Profile("custom"))
    real = Backend(name="real", adapter="openai", model="m", host="h", port=80)
    placed = with_simulator({"a/b": played, "real": real}, "127.0.0.1", 4711)
    assert (placed["a/b"].host, placed["a/b"].port) == ("127.0.0.1", 4711)
    assert placed["a/b"].path_prefix == simulated_prefix("a/b") == "/a%2Fb/v1"
    assert placed["real"] == real
    assert played.is_simulated
    assert not real.is_simulated


def test_its_adapter_says_which_protocol_it_speaks() -> None:
    assert Backend(name="a", adapter="azure", model="m").protocol == "openai"
    assert Backend(name="a", adapter="anthropic", model="m").protocol == "anthropic"


def test_the_prices_version_changes_with_the_price() -> None:
    versions = {
        Backend(name="a", adapter="openai", model="m", price=price).price_version
        for price in (None, Price(input=1, output=2), Price(input=1, output=3))
    }
    assert len(versions) == 3
    assert None in versions
