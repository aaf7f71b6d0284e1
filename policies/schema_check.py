"""A JSON schema, compiled once, that never leaves this machine.

References to other documents are refused instead of fetched (a schema may come from a client),
and patterns run on an engine of linear time, so no pattern can hold a worker.
"""

import jsonschema_rs
import msgspec


class SchemaCheck:
    """One compiled schema. `source` is its canonical JSON and its identity."""

    __slots__ = ("_validator", "source")

    def __init__(self, schema: object) -> None:
        """Raises ValueError with the schema's fault."""
        self._validator = _compile(schema)
        try:
            self.source = msgspec.json.encode(schema, order="deterministic").decode()
        except (TypeError, RecursionError) as error:
            raise ValueError(f"not a usable JSON schema: {error}") from None

    def __repr__(self) -> str:
        return f"SchemaCheck({self.source})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SchemaCheck) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    def fits(self, value: object) -> bool:
        """Whether `value` (plain JSON data) is valid."""
        try:
            return self._validator.is_valid(value)
        except (ValueError, jsonschema_rs.ReferencingError):
            return False  # a number or a nesting the validator cannot hold: not shown to be valid


def _compile(schema: object) -> jsonschema_rs.Validator:
    if not isinstance(schema, dict | bool):
        raise ValueError("a JSON schema is a mapping, true or false")
    try:
        return jsonschema_rs.validator_for(
            schema,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise ValueError(f"not a usable JSON schema: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
