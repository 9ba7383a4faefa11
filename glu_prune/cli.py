"""`glu-prune`: its arguments; what its commands do is in `glu_prune.commands`."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from glu_prune.commands import costs, models, pruning, runs
from glu_prune.errors import BaselineError, ExpectationError, GluPruneError, shown
from glu_prune.units import whole

if TYPE_CHECKING:
    _Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_UNUSABLE = 2
_INTERRUPTED = 130
_DTYPES = ("float32", "bfloat16", "float16")


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        msg = f"{text!r} is no folder; name a folder of benchmark data"
        raise argparse.ArgumentTypeError(msg)
    return Path(text)


def _margin(text: str) -> float:
    try:
        margin = float(text)
    except ValueError:
        margin = float("nan")
    if not 0 <= margin < float("inf"):
        msg = f"{text!r} is not allowed; it is a number of at least 0, in units of the metric"
        raise argparse.ArgumentTypeError(msg)
    return margin


def _positive(text: str) -> int:
    if (number := whole(text)) is None or number < 1:
        msg = f"{text!r} is not allowed; it is a whole number of at least 1"
        raise argparse.ArgumentTypeError(msg)
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="glu-prune", description="Width pruning of GLU language models.")
    parser.set_defaults(offline=False, interrupted="nothing was written")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_pruning(commands)
    _add_costs(commands)
    _add_models(commands)
    _add_runs(commands)
    _add_store(commands)
    _add_lists(commands)
    return parser


def _add_pruning(commands: "_Commands") -> None:
    """The commands that remove neurons."""
    plan = commands.add_parser("plan", help="what a target means for a model, from its configuration alone")
    _add_target(plan)
    plan.set_defaults(run=pruning.plan)

    prune = commands.add_parser("prune", help="remove neurons from a model on disk, into a new folder")
    _add_target(prune)
    prune.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the pruned model")
    prune.add_argument("--criterion", default="ppm", help="how neurons are ranked (default: ppm); see `criteria`")
    prune.add_argument("--seed", type=int, default=0, help="for seeded criteria (default: 0)")
    prune.add_argument("--calibration", type=Path, metavar="FILE", help="text for criteria that look at activations")
    prune.add_argument("--plan", type=Path, metavar="FILE", help="apply this plan instead of ranking")
    prune.add_argument(
        "--pad-to-uniform",
        action="store_true",
        help="fill unequal widths up with neurons of zeros, so that stock loaders read the result",
    )
    prune.set_defaults(run=pruning.prune)


def _add_costs(commands: "_Commands") -> None:
    """The command that measures costs."""
    measure = commands.add_parser("measure", help="what a model costs, dense and pruned: time, energy, memory")
    _add_model(measure)
    measure.add_argument("--ratio", nargs="+", default=[], help="fractions of neurons to remove, such as 0.2 0.4")
    measure.add_argument("--criterion", default="ppm", help="how neurons are ranked (default: ppm)")
    measure.add_argument("--seed", type=int, default=0, help="for seeded criteria (default: 0)")
    measure.add_argument("--prompt-tokens", type=int, metavar="N", help="of each prompt (default: 64)")
    measure.add_argument("--new-tokens", type=int, metavar="N", help="of each answer (default: 32)")
    measure.add_argument("--batch-size", type=int, nargs="+", metavar="N", help="prompts at once (default: 1 8)")
    measure.add_argument("--suite", choices=("embedded", "study"), help="the workloads of a suite instead")
    measure.add_argument("--rounds", type=int, default=8, metavar="N", help="turns of every arm (default: 8)")
    measure.add_argument(
        "--window", type=float, metavar="SECONDS", help="least length (default: what the energy counters here need)"
    )
    measure.add_argument(
        "--processes", type=int, default=4, metavar="N", help="fresh processes per arm and workload for memory; 0: none"
    )
    measure.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    measure.add_argument("--dtype", default="float32", choices=_DTYPES)
    measure.add_argument("--grid", default="USA", metavar="ISO3", help="country whose CO2 per kWh is assumed")
    measure.add_argument("--store", type=Path, metavar="DIR", help="keep and reuse finished workloads in this store")
    measure.add_argument("--out", type=Path, metavar="DIR", help="folder for the tables as CSV, Markdown and JSON")
    measure.set_defaults(run=costs.measure)


def _add_models(commands: "_Commands") -> None:
    """The commands that write models."""
    convert = commands.add_parser("convert", help="turn a llama2.c checkpoint into a stock one")
    convert.add_argument("folder", type=Path, metavar="FOLDER", help="with a model .bin and its tokenizer .bin")
    convert.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    convert.set_defaults(run=models.convert)

    shape = commands.add_parser("shape", help="write a model of a known shape with random weights, to measure its cost")
    shape.add_argument("name", metavar="NAME", help="such as llama-3.2-1b")
    shape.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    shape.add_argument("--dtype", default="bfloat16", help="of the weights (default: bfloat16)")
    shape.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    shape.add_argument(
        "--tokenizer",
        metavar="MODEL",
        help="a model whose tokenizer it gets, or a folder with a tokenizer alone (default: none, cost alone)",
    )
    shape.set_defaults(run=models.shape)


def _add_runs(commands: "_Commands") -> None:
    """The commands around runs."""
    init = commands.add_parser("init", help="write tests, claims and a CI workflow into a repository of your own")
    init.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="(default: this folder)")
    init.add_argument("--model", default="tiny-base", metavar="NAME", help="what to make claims about; see `models`")
    init.set_defaults(run=runs.init)

    doctor = commands.add_parser("doctor", help="check that all is here that a run of expectation files needs")
    _add_files(doctor)
    doctor.add_argument("--store", type=Path, default=Path(".glu-prune"), metavar="DIR", help="where records will be")
    doctor.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    doctor.add_argument("--dtype", default="float32", choices=_DTYPES)
    doctor.add_argument("--batch-size", type=_positive, default=64, metavar="N", help="sequences at once (default: 64)")
    doctor.set_defaults(run=runs.doctor, offline=True)

    prefetch = commands.add_parser("prefetch", help="download what is missing for a run of expectation files")
    _add_files(prefetch)
    prefetch.set_defaults(run=runs.prefetch, interrupted="what was fetched stays")

    compare = commands.add_parser("compare", help="judge one run against another, item by item")
    place = "a store, a baseline's JSON file, or lm-eval's results JSON"
    compare.add_argument("before", type=Path, metavar="A", help=f"what was: {place}")
    compare.add_argument("after", type=Path, metavar="B", help=f"what is: {place}")
    compare.add_argument(
        "--fail-on",
        choices=("regressed", "incomparable", "change"),
        default="regressed",
        help="what exit code 1 is for: regressions (default), also what cannot be compared, or any change",
    )
    compare.add_argument(
        "--margin", type=_margin, default=0.0, metavar="X", help="changes up to this, in units of the metric, are none"
    )
    compare.add_argument("--out", type=Path, metavar="FILE", help="write all rows to this .json, .csv or .md file")
    compare.set_defaults(run=runs.compare)


def _add_lists(commands: "_Commands") -> None:
    """The commands that list what there is."""
    commands.add_parser("criteria", help="list the ways to rank neurons").set_defaults(run=models.criteria)
    families = commands.add_parser("families", help="list the model families of transformers that can be pruned")
    families.set_defaults(run=models.families)
    commands.add_parser("models", help="list the embedded models and where they are").set_defaults(run=models.models)


def _add_store(commands: "_Commands") -> None:
    """The commands about records that are kept."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--store", type=Path, default=Path(".glu-prune"), metavar="DIR", help="(default: .glu-prune)")
    store = commands.add_parser("store", help="look at, check, clean and export the records that runs have left")
    which = store.add_subparsers(required=True, metavar="COMMAND")

    ls = which.add_parser("ls", parents=[shared], help="list the cells")
    ls.add_argument(
        "--model", default="*", metavar="PATTERN", help="only those of models of this name, such as 'tiny-*'"
    )
    ls.add_argument("--task", default="*", metavar="PATTERN", help="only those of tasks of this name")
    ls.set_defaults(
        run=runs.store, act=lambda stored, options: stored.listed(options.store, options.model, options.task)
    )
    show = which.add_parser("show", parents=[shared], help="show what one record says beside its items")
    show.add_argument("key", metavar="KEY", help="the beginning of its key, as `ls` shows it")
    show.set_defaults(run=runs.store, act=lambda stored, options: stored.shown(options.store, options.key))
    verify = which.add_parser("verify", parents=[shared], help="check every record; exit status 1 if one is damaged")
    verify.set_defaults(run=runs.store, act=lambda stored, options: stored.verified(options.store))
    gc = which.add_parser("gc", parents=[shared], help="remove records that nothing will ask for again, and leftovers")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    gc.set_defaults(
        run=runs.store, act=lambda stored, options: stored.collected(options.store, dry_run=options.dry_run)
    )
    export = which.add_parser("export", parents=[shared], help="write all items of all cells to one file")
    export.add_argument("out", type=Path, metavar="FILE", help="a new .parquet or .csv")
    export.set_defaults(run=runs.store, act=lambda stored, options: stored.exported(options.store, options.out))


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an embedded model, a folder, or a cached Hugging Face id")
    parser.add_argument("--revision", help="of a Hugging Face model")
    parser.add_argument("--offline", action="store_true", help="open no connection, whatever libraries would like to")


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        type=Path,
        nargs="*",
        default=[Path("expectations")],
        metavar="FILE",
        help="expectation files, or folders of them (default: expectations/)",
    )
    parser.add_argument(
        "--data", type=_folder, metavar="DIR", help="a folder of benchmark data, as GLU_PRUNE_DATA names one"
    )


def _add_target(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--ratio", help="fraction of neurons to remove, such as 0.4")
    parser.add_argument("--expansion-ratio", help="width over hidden size afterwards, such as 2.4")
    parser.add_argument("--width", help="neurons per block afterwards, such as 4916")
    parser.add_argument("--multiple-of", default=1, metavar="N", help="round widths to a multiple of N (default: 1)")
    parser.add_argument(
        "--layer-ratio", action="append", default=[], metavar="LAYER=RATIO", help="a ratio for one layer; repeatable"
    )
    parser.add_argument(
        "--skip", action="append", default=[], metavar="LAYER", help="a layer, or a pattern of block names; repeatable"
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs one command.

    Returns 0 on success, 1 on an error, if something is missing, or if a comparison fails, 2 on unusable arguments,
    expectation files or things to compare, 130 when interrupted.
    """
    from glu_prune.readiness.network import offline
    from glu_prune.report.clean import one_line

    options = _parser().parse_args(arguments)
    try:
        with offline() if options.offline else nullcontext():
            answer = options.run(options)
    except GluPruneError as error:
        sys.stderr.write(f"glu-prune: {one_line(str(error))}\n")
        return _UNUSABLE if isinstance(error, ExpectationError | BaselineError) else 1
    except OSError as error:  # such as a name that is too long to be one
        sys.stderr.write(f"glu-prune: {one_line(f'{shown(error.filename)}: {error.strerror}')}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"glu-prune: interrupted; {options.interrupted}\n")
        return _INTERRUPTED
    text, complete = answer if isinstance(answer, tuple) else (answer, True)
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
