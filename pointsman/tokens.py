"""Token usage as backends report it, and what it costs.

Every room speaks of these two: adapters read a `Usage`, policies price it, telemetry keeps it.
`None` is unknown and never counts as zero (ROUTING: "unknown is not zero").
"""

import msgspec

TOKENS_PER_PRICE = 1_000_000


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Token counts of one answer, in the provider's own sense.

    `reasoning` is inside `completion`; `cached` and `cache_write` are inside `prompt`.
    """

    prompt: int | None = None
    completion: int | None = None
    reasoning: int | None = None
    cached: int | None = None
    cache_write: int | None = None


class Price(msgspec.Struct, frozen=True):
    """List price by token class in US dollars per million tokens, or `per_hour` of a machine.

    With `per_hour`, a request pays for the time it kept the machine busy, shared with the
    requests served beside it; idle hours are charged to nobody.
    """

    input: float | None = None
    output: float | None = None
    cached_input: float | None = None
    cache_write: float | None = None
    per_hour: float | None = None

    def cost_usd(
        self, usage: Usage, *, busy_s: float | None = None, served_at_once: int = 1
    ) -> float | None:
        """US dollars of one answer; None where a needed count or price is unknown."""
        if self.per_hour is not None:
            if busy_s is None:
                return None
            return self.per_hour / 3600 * busy_s / max(1, served_at_once)
        prompt, completion = usage.prompt, usage.completion
        if self.input is None or self.output is None or prompt is None or completion is None:
            return None
        if not usage.cached and not usage.cache_write:  # most answers: half the time
            return (prompt * self.input + completion * self.output) / TOKENS_PER_PRICE
        return self.token_cost_usd(
            fresh=prompt - (usage.cached or 0) - (usage.cache_write or 0),
            cached=usage.cached or 0,
            cache_write=usage.cache_write or 0,
            output=completion,
            input_price=self.input,
            output_price=self.output,
        )

    def token_cost_usd(
        self,
        *,
        fresh: float,
        cached: float,
        cache_write: float,
        output: float,
        input_price: float,
        output_price: float,
    ) -> float:
        """US dollars for token counts by class; a class without a price costs as `input`."""
        cached_price = input_price if self.cached_input is None else self.cached_input
        write_price = input_price if self.cache_write is None else self.cache_write
        total = (
            max(0.0, fresh) * input_price
            + cached * cached_price
            + cache_write * write_price
            + output * output_price
        )
        return total / TOKENS_PER_PRICE
