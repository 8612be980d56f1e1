"""The formats that people already have, one file each. `choose` finds out which one a file is."""

from pathlib import Path

from monitor.errors import SetupError
from monitor.ingest.formats.base import Format
from monitor.ingest.formats.bentoml import BentoMl
from monitor.ingest.formats.evidently import Evidently
from monitor.ingest.formats.kserve import KSERVE
from monitor.ingest.formats.mlflow import Mlflow
from monitor.ingest.formats.nannyml import NannyMl
from monitor.ingest.formats.own import Columns, JsonLines
from monitor.ingest.formats.sagemaker import SageMaker
from monitor.ingest.formats.seldon import SELDON
from monitor.ingest.formats.source import CONTAINERS, Source

# The first that recognises a file reads it: the particular ones before those that take every file of a container.
FORMATS: tuple[Format, ...] = (
    KSERVE,
    SELDON,
    SageMaker(),
    BentoMl(),
    Mlflow(),
    NannyMl(),
    Evidently(),
    Columns("csv", "CSV"),
    Columns("parquet", "Parquet"),
    Columns("arrow", "Arrow"),
    JsonLines(),
)
NAMES = ("auto", *(one.name for one in FORMATS))


def choose(path: Path, name: str = "auto") -> tuple[Format, Source]:
    """The format of a file, and the file as a source.

    Raises:
        SetupError: no such file, an unknown name, or a file that no format recognises, or
            one in UTF-16.
    """
    if name not in NAMES:
        raise SetupError(f"--format is one of {', '.join(NAMES)}")
    if name != "auto":
        found = next(one for one in FORMATS if one.name == name)
        source = Source(path, name if name in CONTAINERS else None)
        source.check_encoding()
        return found, source if source.container is not None else Source(path, "csv")
    source = Source(path)
    source.check_encoding()
    for one in FORMATS:
        if one.detects(source):
            return one, source
    raise SetupError(f"{path}: what this is cannot be told from it: say it with --format ({', '.join(NAMES[1:])})")
