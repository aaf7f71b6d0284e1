"""One candidate while a decision is being made."""

from .prediction import Prediction


class View:
    """What is predicted of it, and what speaks against it."""

    __slots__ = ("acceptable", "backend", "cost_usd", "failure", "note", "prediction", "rank_usd")

    def __init__(
        self,
        backend: str,
        prediction: Prediction,
        rank_usd: float | None,
        acceptable: float | None,
    ) -> None:
        self.backend = backend
        self.acceptable = acceptable
        self.prediction = prediction
        self.rank_usd = rank_usd
        """Of prior tokens where nothing else is known."""
        self.cost_usd = rank_usd if prediction.cost.is_known else None
        self.failure: str | None = None
        self.note = ""
        """What else its reason tells."""
