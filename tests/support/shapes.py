"""One captured chat of every shape that an export format has to hold or to leave out by name."""

from telemetry.record import RequestRecord
from tests.support.chats import answer, chat

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks a loan up.",
        "parameters": {"type": "object", "properties": {"loan": {"type": "string"}}},
    },
}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"loan":"7"}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "payoff",
        "schema": {"type": "object", "properties": {"payoff": {"type": "number"}}},
    },
}


def shapes() -> dict[str, RequestRecord]:
    """By name; every one of them a row of a data set."""
    user = {"role": "user", "content": "How much is the payoff?"}
    said = {"role": "assistant", "content": "Of which loan?"}
    called = {"role": "assistant", "tool_calls": [CALL]}
    reply = {"role": "tool", "tool_call_id": "c1", "content": '{"payoff": 12}'}
    return {
        "plain": chat([{"role": "system", "content": "You read calls."}, user], "12"),
        "multi-turn": chat([user, said, {"role": "user", "content": "Loan 7"}], "13"),
        "tool call": chat(
            [{"role": "user", "content": "Look loan 7 up"}], answer(None, tool_calls=[CALL]),
            body={"tools": [TOOL]},
        ),
        "tool reply": chat(
            [{"role": "user", "content": "And loan 8?"}, called, reply], "It is 12.",
            body={"tools": [TOOL], "parallel_tool_calls": False},
        ),
        "image": chat([{"role": "user", "content": [{"type": "text", "text": "Read it"}, IMAGE]}]),
        "schema": chat("As JSON", '{"payoff": 1250.1}', body={"response_format": SCHEMA}),
        "reasoning": chat("Think first", answer("14", reasoning_content="Seven plus seven.")),
        "unicode": chat("Zażółć 日本語 🙂 \u2028 {{brace}}", "Größe: 5 €"),
    }  # fmt: skip
