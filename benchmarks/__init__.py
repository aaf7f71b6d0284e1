"""What the proxy costs, measured beside nginx in the same run. Not part of the wheel."""
