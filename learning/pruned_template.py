"""A chat template that leaves out, at every call, the beginning a student was trained without.

`dataset build --prune-prefix` cuts what all requests of a route begin with. Clients go on sending
it, so the template of such a student skips it, and refuses a conversation that begins with other
instructions: the student has never seen any. One template does for both: rows of training have
lost their beginning already.
"""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from .captured import captured_by_id
from .constant_prefix import PrefixRule
from .dataset_spec import DatasetName
from .dataset_store import read_examples, show
from .models import ModelError

Json = dict[str, object]

REFUSAL: Final = "this model was trained on another beginning of the conversation"
ROWS_MAX: Final = 100
"""So many are looked at; some may have begun otherwise and lost nothing."""


def pruned_prefix(directory: Path, dataset: DatasetName) -> PrefixRule | None:
    """What the rows of a data set have lost; None where nothing was cut.

    Raises ModelError where a template cannot leave it out: part of a message, or several routes.
    """
    rows = list(islice(read_examples(directory, dataset), ROWS_MAX))
    lost = {str(row.meta["prefix"]): row for row in rows if "prefix" in row.meta}
    if not lost:
        return None
    advice = "build the data set without --prune-prefix"
    if len(lost) > 1:
        raise ModelError(f"{dataset.id} lost the beginnings of several routes; {advice}")
    ((identifier, row),) = lost.items()
    told = _told(directory, dataset, identifier)
    if told["characters"]:
        raise ModelError(f"{dataset.id} lost a part of a message; {advice}")
    for capture in captured_by_id(directory, [row.request_id]):
        rule = _rule(capture.request, told["messages"])
        if rule is not None and rule.id == identifier:
            return rule
    raise ModelError(f"the capture {row.request_id} is gone: what was cut is not known; {advice}")


def _told(directory: Path, dataset: DatasetName, identifier: str) -> dict[str, int]:
    prefixes: Any = show(directory, dataset)["prefixes"]
    found: dict[str, int] = next(one for one in prefixes.values() if one["id"] == identifier)
    return found


def _rule(request: bytes | None, count: int) -> PrefixRule | None:
    try:
        messages = json.loads(request or b"{}")["messages"][:count]
    except (ValueError, LookupError, TypeError):
        return None
    return PrefixRule(tuple(messages))


def without_prefix(template: str, messages: Sequence[Json]) -> str:
    """The template, with those messages left out where a conversation begins with them.

    Raises ModelError where one of them is not text.
    """
    if not all(isinstance(message.get("content"), str) for message in messages):
        raise ModelError("the beginning that was cut is not text; build without --prune-prefix")
    tests = " and ".join(
        f"messages[{place}].role == {_literal(message.get('role'))}"
        f" and messages[{place}].content == {_literal(message['content'])}"
        for place, message in enumerate(messages)
    )
    count = len(messages)
    return (
        f"{{% if messages | length > {count} and {tests} %}}"
        f"{{% set messages = messages[{count}:] %}}"
        "{% elif messages[0].role == 'system' %}"
        f"{{{{ raise_exception({_literal(REFUSAL)}) }}}}"
        f"{{% endif %}}{template}"
    )


def _literal(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
