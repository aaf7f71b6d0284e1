"""What the reference gains on one request, and when that sends the request there before a call.

What routing gains is the difference of two chances, not a hard prompt: one that both fail, or
both pass, belongs to the cheap one. From which gain on the reference answers is proved on labels
(learning/calibrate.py) and stands in the lock.
"""

from .view import View


def gain_over(chosen: View, reference: View) -> float | None:
    """How much likelier the reference answers well; None where that is not known."""
    if chosen.acceptable is None or reference.acceptable is None:
        return None
    return reference.acceptable - chosen.acceptable


def send_to_reference(
    reference: View, views: list[View], gain: float | None, *, least: float
) -> tuple[View, str]:
    """The reference and why; the others may not answer this request, nor be drawn for it."""
    if gain is None:
        why = "how well others would answer is not known"
    else:
        why = f"{gain:+.1%} likelier right, from {least:+.1%} on it answers"
    for view in views:
        if view is not reference and view.failure is None:
            view.failure = f"left to the reference {reference.backend}: {why}"
    if reference not in views:
        views.append(reference)
    reference.failure = None
    return reference, f"reference {reference.backend}: {why}"
