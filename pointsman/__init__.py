"""The ground floor: units, YAML positions, tokens and prices, the error root, the version."""

__version__ = "0.1.0"
