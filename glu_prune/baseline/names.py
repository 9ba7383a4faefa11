"""What models are called in a baseline: by one name each, which is the same wherever the repository lies."""

from dataclasses import dataclass
from pathlib import Path

from glu_prune.models.source import identity


@dataclass(frozen=True)
class Names:
    """Names of models, as seen from the folder of a project.

    A folder below it is written `./FOLDER`, whichever way it was named; an embedded or a hub model by its name.
    """

    project: Path

    @classmethod
    def beside(cls, folder: Path) -> "Names":
        """Of the project in which a folder of baselines, or a store, lies."""
        return cls(folder.resolve().parent)

    def one(self, model: str, base: Path | None = None) -> str:
        """The one name of `model`, which is relative to `base`; None stands for the current folder."""
        found = identity(model, base)
        if Path(found).is_absolute() and Path(found).is_relative_to(self.project):
            return f"./{Path(found).relative_to(self.project).as_posix()}"
        return found

    def read(self, written: str) -> str:
        """The one name of a model that is written in the project."""
        return self.one(written, self.project)

    def write(self, model: str) -> str:
        """How `model` is written in the project: outside of it by its variable, `$MODELS/llama`, if it was named so."""
        name = self.one(model)
        return model if model.startswith(("$", "~")) and Path(name).is_absolute() else name
