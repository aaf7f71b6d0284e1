"""Adapters are found by their files' names, and nothing lists them."""

import pytest

from adapters.adapter import Adapter
from adapters.registry import adapter_names, find_adapter


def test_every_file_is_an_adapter() -> None:
    names = adapter_names()
    assert names == ["anthropic", "azure", "openai", "simulated", "simulated_anthropic"]
    assert all(isinstance(find_adapter(name), Adapter) for name in names)


def test_another_name_is_no_adapter() -> None:
    with pytest.raises(ModuleNotFoundError):
        find_adapter("nothing")
