"""`adapter: simulated`: played by the loopback server of adapters/simulated/, in OpenAI's protocol.

Requests take the ordinary way to it. It has no address until the supervisor has bound that server;
`backend.with_simulator` then gives each backend its own path.
"""

from dataclasses import replace

from adapters.backend import Backend, simulated_prefix
from adapters.declared import Declared
from adapters.parameters import NO_RULES, REASONING, Parameters, decode_parameters
from adapters.simulated.profile import Profile, decode_profile
from pointsman.decoding import boolean, text

from . import openai


def read(declared: Declared) -> Backend:
    """`profile`, and the name of the model it plays."""
    return read_played(declared, reasoning=REASONING)


def read_played(declared: Declared, *, reasoning: Parameters) -> Backend:
    """The same for either protocol; `reasoning` are its rules for models that think."""
    section, name = declared.section, declared.name
    profile = decode_profile(
        section.node("profile"), name, findings=declared.findings, directory=declared.directory
    ) or Profile(name)
    is_reasoning = section.read("reasoning", boolean, profile.is_reasoning)
    return Backend(
        name=name,
        adapter=declared.adapter,
        model=section.read("model", text, name if profile.name == "custom" else profile.name),
        profile=profile,
        path_prefix=simulated_prefix(name),
        is_reasoning=profile.is_reasoning,
        has_logprobs=profile.has_logprobs,
        parameters=decode_parameters(section, default=reasoning if is_reasoning else NO_RULES),
    )


ADAPTER = replace(openai.ADAPTER, read=read)
