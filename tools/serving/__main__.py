"""See `tools.serving`."""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from itertools import chain, cycle, islice
from pathlib import Path

import tools.serving
from glu_prune.errors import GluPruneError, NotReadyError
from glu_prune.experiment.machine import machine
from glu_prune.models.source import locate
from glu_prune.pruning.checkpoint import folder_digest
from tools.serving import gguf_files, judged, onnx_files, results
from tools.serving.answers import Answers, Served, answers, distance
from tools.serving.speed import PROMPT, ROUNDS, speeds

DENSE = "dense"
POSITIONS = 256
_WEIGHTS = {".safetensors", ".onnx", ".data"}
LONGEST = 128
"""Tokens of a prompt, at most."""


@dataclass(frozen=True)
class Engine:
    """How one engine is used."""

    module: str
    package: str
    converted: Callable[[Path, str, Path], Mapping[str, Path]]
    """Folder, name and place to work: format to what is loaded."""
    loaded: Callable[[str, Path], Served]


def engine(options: argparse.Namespace) -> Engine:
    """The engine that was asked for.

    Raises:
        NotReadyError: it is not installed.
    """
    found = {
        "transformers": Engine("transformers", "transformers", judged.converted, judged.loaded),
        "llama.cpp": Engine(
            "llama_cpp",
            "llama-cpp-python",
            partial(gguf_files.converted, llama_cpp=options.llama_cpp),
            partial(gguf_files.LlamaCpp, positions=POSITIONS),
        ),
        "onnxruntime": Engine(
            "onnxruntime_genai",
            "onnxruntime-genai",
            onnx_files.converted,
            partial(onnx_files.OnnxRuntime, positions=POSITIONS),
        ),
    }[options.engine]
    if importlib.util.find_spec(found.module) is None:
        msg = f"{options.engine} is not installed; `pip install {found.package}`"
        raise NotReadyError(msg)
    return found


@dataclass(frozen=True)
class Proof:
    """What is compared: one engine, the dense model and what was cut of it."""

    options: argparse.Namespace
    how: Engine
    folders: Mapping[str, Path]
    prompts: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Proof":
        """As the command line says."""
        folders = {DENSE: locate(options.dense).folder, **{each.name: each for each in options.folders}}
        return cls(options, engine(options), folders, judged.prompts(options.dense, options.prompts, LONGEST))

    def rows(self) -> list[results.Row]:
        """A row for each format of each model."""
        texts, work = list(self.prompts.values()), self.options.work
        truths = {
            name: judged.judged(self.options.dense, None if name == DENSE else folder, texts, work)
            for name, folder in self.folders.items()
        }
        files = {
            name: self.how.converted(folder, f"{name}-{folder_digest(folder)[:12]}", work)
            for name, folder in self.folders.items()
        }
        return [
            row
            for form in files[DENSE]
            if not self.options.formats or form in self.options.formats
            for row in self._of_format(form, {name: each[form] for name, each in files.items()}, truths)
        ]

    def _of_format(self, form: str, files: Mapping[str, Path], truths: Mapping[str, Answers]) -> Iterator[results.Row]:
        models = {name: self.how.loaded(form, file) for name, file in files.items()}
        texts = list(self.prompts.values())
        times = speeds(models, list(islice(cycle(chain.from_iterable(texts)), PROMPT)), self.options.rounds)
        for name, model in models.items():
            apart = distance(truths[name], answers(model, texts))
            sys.stderr.write(f"{self.options.engine} {form} {name}: {apart}, tokens/s {times[name]}\n")
            down, others = gguf_files.types(files[name]) if files[name].suffix == ".gguf" else ("", "")
            yield results.Row(
                engine=self.options.engine,
                version=f"{self.how.package} {version(self.how.package)}",
                format=form,
                model=name,
                width=_width(self.folders[name]),
                bytes=_size(files[name]),
                down=down,
                others=others,
                prompts=len(texts),
                **asdict(apart),
                same_ids=self._same_ids(model),
                prefill=times[name][0],
                decode=times[name][1],
                machine=machine(),
            )

    def _same_ids(self, model: Served) -> float | None:
        """Share of prompts that the engine's own tokenizer reads as the checkpoint's does."""
        found = [(model.encode(text), list(ids)) for text, ids in self.prompts.items()]
        if any(own is None for own, _ in found):
            return None
        return sum(own[: len(ids)] == ids for own, ids in found if own is not None) / len(found)


def _size(path: Path) -> int:
    """Bytes of weights and graphs."""
    files = [path] if path.is_file() else [each for each in path.iterdir() if each.suffix in _WEIGHTS]
    return sum(each.stat().st_size for each in files)


def _width(folder: Path) -> int:
    found: int = json.loads((folder / "config.json").read_text(encoding="utf-8"))["intermediate_size"]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Proves it, shows the table and keeps it."""
    parser = argparse.ArgumentParser(prog="python -m tools.serving", description=tools.serving.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("engine", choices=("transformers", "llama.cpp", "onnxruntime", "table"))
    parser.add_argument("folders", type=Path, nargs="*", help="what `glu-prune prune` wrote")
    parser.add_argument("--dense", help="the model that they were cut from")
    parser.add_argument("--work", type=Path, default=Path("results/serving"), help="where converted models are kept")
    parser.add_argument("--llama-cpp", type=Path, help="the folder of llama.cpp's convert_hf_to_gguf.py")
    parser.add_argument("--formats", nargs="+", help="only these, as the table names them")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="in which each model is timed once")
    parser.add_argument("--out", type=Path, default=results.FILE, help="CSV; rows of other engines stay")
    options = parser.parse_intermixed_args(arguments)
    if options.engine != "table" and not (options.dense and options.folders):
        parser.error("name the dense model with --dense, and at least one pruned folder")
    if options.engine == "llama.cpp" and options.llama_cpp is None:
        parser.error("--llama-cpp names the folder of llama.cpp's convert_hf_to_gguf.py")
    if options.engine != "table":
        options.work.mkdir(parents=True, exist_ok=True)
        try:
            results.write(Proof.of(options).rows(), options.out)
        except GluPruneError as error:
            parser.error(str(error))
    sys.stdout.write(results.table(results.read(options.out)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
