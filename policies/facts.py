"""What the decision needs to know of a backend, and nothing of how it is spoken to.

The proxy makes these from the adapters' configuration, so that policies never import adapters.
"""

import msgspec

from pointsman.tokens import Price


class Expect(msgspec.Struct, frozen=True):
    """The operator's own figures of a backend (`expect:`), used until enough was measured."""

    first_token_s: float | None = None
    tokens_per_second: float | None = None
    completion_tokens: float | None = None
    """Output tokens of one answer, reasoning included."""

    @property
    def is_stated(self) -> bool:
        """Whether the operator gave any figure at all."""
        return not (
            self.first_token_s is None
            and self.tokens_per_second is None
            and self.completion_tokens is None
        )


class BackendFacts(msgspec.Struct, frozen=True):
    """One backend as the policy sees it; `None` is unknown, never zero or free."""

    name: str
    price: Price | None = None
    expect: Expect | None = None
    has_logprobs: bool = False
    is_reasoning: bool = False
    hidden: bool = False
    """Left out of the list of models; still known by name."""
    vectors: str | None = None
    """Embeddings of the same name may replace each other."""
