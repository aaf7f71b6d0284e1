"""Where labels come from: each with its source, its cost, and how it was sampled, written by us."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from learning.captured import captured_by_id
from learning.import_pairs import import_file
from learning.label_store import Labels, Verdict
from telemetry.queries import captures
from tests.support.plane import ASKED, Plane, completion, config, whole_answer
from tests.support.records import fold
from tests.support.scripted import ScriptedUpstream, answering

ROUTES = "  default: {candidates: [a], shadow: {backend: b, share: 100%}}"


def asked(text: str) -> dict[str, Any]:
    return {**ASKED, "messages": [{"role": "user", "content": text}]}


def rows(directory: Path, sql: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(directory / "learning.db")) as store:
        store.row_factory = sqlite3.Row
        return [dict(row) for row in store.execute(sql)]


def verdicts(directory: Path) -> dict[str, Verdict]:
    with closing(Labels(directory)) as labels:
        stored = captured_by_id(directory, [str(one["id"]) for one in captures(directory)])
        return labels.verdicts([(one.id, one.input_hash) for one in stored])


def test_what_a_reference_was_shown_is_found_as_a_teachers_answer(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([answering(lambda request: whole_answer("1,250.10"))]) as a,
        ScriptedUpstream([answering(lambda request: whole_answer("1250.11"))]) as b,
        Plane(tmp_path, config(ROUTES, a=a.base_url, b=b.base_url)) as plane,
    ):
        with plane.client() as client:
            client.ask(asked("Payoff?"))
        plane.wait_until(lambda: plane.count("shadows_total", backend="b", outcome="labelled"))
        directory = plane.configuration.capture.directory
    fold(directory)
    (row,) = rows(directory, "select * from labels")
    assert (row["source"], row["backend"], row["route"]) == ("shadow", "b", "default")
    assert (row["probability"], row["agrees"], row["verdict"]) == (1.0, 0, None)
    assert row["cost_usd"] == 13e-6
    assert (row["prompt_tok"], row["completion_tok"]) == (3, 5)
    (found,) = verdicts(directory).values()
    assert (found.source, found.text, found.probability) == ("shadow", "1250.11", 1.0)
    (capture,) = captures(directory)
    assert capture["cost_usd"] == 13e-6  # what the client's answer cost, and nothing of the copy


def test_pairs_from_elsewhere_keep_the_name_of_their_import(tmp_path: Path) -> None:
    pair = {
        "request": asked("Payoff?"),
        "response": json.loads(completion("7")),
        "source": "traffic",
        "labels": {"label": "right"},
    }
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(pair) + "\n")
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    import_file(directory, file, source="old-gateway")
    fold(directory)
    (capture,) = captures(directory)
    assert capture["source"] == "old-gateway"
    assert rows(directory, "select * from labels") == []
    assert verdicts(directory) == {}
