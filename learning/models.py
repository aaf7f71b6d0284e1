"""Which models there are: those that were trained, with what they were trained on, and files.

models/NAME/V/model.gguf       what is served
models/NAME/V/template.jinja   the chat template of training and serving
models/NAME/V/job.json         how it was trained
"""

import hashlib
import re
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from pointsman.errors import PointsmanError
from telemetry.store import LEARNING_FILE, has_schema, open_for_reading

from .dataset_spec import DatasetName
from .ledger import Ledger, now_us

Json = dict[str, object]

FOLDER: Final = "models"
GGUF: Final = "model.gguf"
TEMPLATE: Final = "template.jinja"
_NAME: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})(?:@([1-9]\d{0,8}))?")


class ModelError(PointsmanError):
    """The model is not there, or cannot be trained or served; the message says what to do."""


class Model(msgspec.Struct, frozen=True):
    """One trained model."""

    id: str
    base: str
    dataset_id: str | None
    method: str
    params: Json
    template_hash: str | None
    artifact_path: Path
    artifact_sha256: str
    created_us: int

    @property
    def template_path(self) -> Path:
        """Beside the model."""
        return self.artifact_path.with_name(TEMPLATE)

    @property
    def is_there(self) -> bool:
        """Its file has not been removed."""
        return self.artifact_path.is_file()


def list_models(directory: Path) -> list[Model]:
    """All of them, oldest first."""
    path = directory / LEARNING_FILE
    if not has_schema(path):
        return []
    with closing(open_for_reading(path)) as connection:
        sql = "select * from models where artifact_path is not null order by created_us, id"
        return [_model(directory, row) for row in connection.execute(sql)]


def find_model(directory: Path, text: str) -> Model:
    """`NAME@2`, or the newest `NAME`. Raises ModelError."""
    match = _NAME.fullmatch(text)
    found = [
        model
        for model in list_models(directory)
        if match and (model.id == text or (match[2] is None and model.id.startswith(f"{text}@")))
    ]
    if not found:
        raise ModelError(f"there is no model {text}; see pointsman model list")
    return max(found, key=lambda model: int(model.id.rpartition("@")[2]))


def next_version(directory: Path, name: str) -> int:
    """The version a new model of `name` gets."""
    ids = [model.id for model in list_models(directory)]
    numbers = [int(i.rpartition("@")[2]) for i in ids if i.rpartition("@")[0] == name]
    return 1 + max(numbers, default=0)


def model_folder(directory: Path, name: str, version: int) -> Path:
    """Where the files of a model lie."""
    return directory / FOLDER / name / str(version)


def register_model(
    directory: Path,
    name: DatasetName,
    *,
    base: str,
    base_sha256: str,
    dataset_id: str,
    params: Json,
) -> Model:
    """From then on it is there. Its files lie in their folder already."""
    folder = model_folder(directory, name.name, name.version or 1)
    path = folder / GGUF
    template = (folder / TEMPLATE).read_bytes()
    with Ledger(directory) as ledger:
        ledger.run(
            "insert or replace into models(id, base, base_sha256, dataset_id, method, params,"
            " template_hash, artifact_path, artifact_sha256, created_us)"
            " values (?,?,?,?,?,?,?,?,?,?)",
            (
                name.id, base, base_sha256, dataset_id, "lora",
                msgspec.json.encode(params).decode(), hashlib.sha256(template).hexdigest(),
                str(path.relative_to(directory)), file_sha256(path), now_us(),
            ),
        )  # fmt: skip
    return find_model(directory, name.id)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check_artifact(model: Model) -> None:
    """Raise ModelError where its file or template are not those that were registered."""
    if not model.is_there:
        raise ModelError(f"{model.artifact_path} is gone; train {model.id} again")
    if file_sha256(model.artifact_path) != model.artifact_sha256:
        raise ModelError(f"{model.artifact_path} is not the file that was registered")
    template = model.template_path.read_bytes() if model.template_path.is_file() else b""
    if hashlib.sha256(template).hexdigest() != model.template_hash:
        raise ModelError(f"{model.template_path} is not the template {model.id} was trained with")


def _model(directory: Path, row: Any) -> Model:
    return Model(
        id=row["id"],
        base=row["base"],
        dataset_id=row["dataset_id"],
        method=row["method"],
        params=msgspec.json.decode(row["params"]),
        template_hash=row["template_hash"],
        artifact_path=directory / row["artifact_path"],
        artifact_sha256=row["artifact_sha256"] or "",
        created_us=row["created_us"],
    )
