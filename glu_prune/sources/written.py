"""Reports that sessions have written."""

from pathlib import Path

from pydantic import ValidationError

from glu_prune.errors import ReportError
from glu_prune.results.report import Report

NAME = "report.json"


def is_written(place: Path) -> bool:
    """Whether `place` is a report, or a folder with one."""
    return place.suffix == ".json" or (place / NAME).is_file()


def read_report(place: Path) -> Report:
    """The report in the file or folder `place`.

    Raises:
        ReportError: it cannot be read, or is none.
    """
    file = place / NAME if place.is_dir() else place
    try:
        return Report.model_validate_json(file.read_bytes())
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror or error}"
        raise ReportError(msg) from error
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "it"
        msg = f"{file} is no report of a session: {where}: {error.errors()[0]['msg']}"
        raise ReportError(msg) from error
