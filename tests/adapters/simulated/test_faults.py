"""The words for failures."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.simulated import faults as module
from adapters.simulated.faults import FLAGS, NO_FAULTS, VALUES, Faults, parse_faults


def test_reads_flags_and_values() -> None:
    assert parse_faults("status=503, retry_after=1,no_done") == Faults(
        status=503, retry_after="1", no_done=True
    )
    assert parse_faults(" ") == NO_FAULTS


@pytest.mark.parametrize(
    "words",
    ["explode", "status", "status=999", "cut=-1", "cut=x", "reset=1", "stall=nan1", "slow=1e99",
     "retry_after=1\r\nx: y", "status=503,,"],
)  # fmt: skip
def test_refuses_what_it_does_not_know(words: str) -> None:
    with pytest.raises(ValueError, match=r"simulate|expected|out of range|200 to 599"):
        parse_faults(words)


@given(st.text(max_size=600))
def test_any_text_is_read_or_refused(words: str) -> None:
    with suppress(ValueError):
        assert isinstance(parse_faults(words), Faults)


def test_every_word_is_explained() -> None:
    for word in (*FLAGS, *VALUES):
        assert re.search(rf"\b{word}\b", module.__doc__ or ""), word
