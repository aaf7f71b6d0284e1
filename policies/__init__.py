"""The decision: YAML -> typed -> compiled; cost, latency, confidence. Pure.

No I/O, no clock, no randomness: the moment, the seed and the state of the world come in as
arguments. The room's modules, in the order a request meets them:

    features        the request's envelope and what may be read of it
    language        `checks:` and `routes:` -> Policy (words, decoders, contradictions, unbuilt)
    policy          which route takes a request (matching, glob)
    decide          which backend it goes to first (prediction, learned)
    confidence      how far an answer is trusted (plausibility, schema_check)
    steps           what happens after an attempt
    explain         a decision as JSON;  probes  examples kept with the policy
"""
