"""`glu-prune`: thin commands over the public functions."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.errors import (
    BaselineError,
    CheckpointError,
    ExpectationError,
    GluPruneError,
    PlanError,
    StoreError,
    WorkloadError,
    shown,
)
from glu_prune.units import whole

if TYPE_CHECKING:
    from glu_prune.efficiency.measure import Steps
    from glu_prune.efficiency.workload import Workload
    from glu_prune.pruning.folder import Checkpoint, Progress
    from glu_prune.pruning.target import Target
    from glu_prune.report.session import SessionReport
    from glu_prune.zoo.source import ModelSource

_UNUSABLE = 2
_INTERRUPTED = 130
_DTYPES = ("float32", "bfloat16", "float16")
_MOST_TOKENS = 2048
_ALIGNED = 16
"""Bytes of which the rows of grouped matrix kernels must be a multiple."""


def _plan(options: argparse.Namespace) -> str:
    from glu_prune.pruning.folder import open_checkpoint
    from glu_prune.report.sizes import sizes

    checkpoint = open_checkpoint(_locate(options).folder)
    return sizes(checkpoint, _target(options).widths(checkpoint.anatomy))


def _prune(options: argparse.Namespace) -> str:
    from glu_prune.pruning.checkpoint import refuse_existing
    from glu_prune.pruning.folder import open_checkpoint, rank_checkpoint, verify_plan, write_pruned
    from glu_prune.pruning.importance import criterion
    from glu_prune.pruning.plan import PruningPlan

    refuse_existing(options.out)
    how = criterion(options.criterion)
    given = None if options.plan is None else PruningPlan.read(options.plan)
    target = None if given is not None else _target(options)
    source = _locate(options)
    checkpoint = open_checkpoint(source.folder)
    with _interruptible():
        if given is not None:
            with _progress("checking") as progress:
                verify_plan(checkpoint, given, progress)
            plan = given
        else:
            activations = _calibrated(options, source) if how.looks_at == "activations" else None
            with _progress("ranking") as progress:
                ranking = rank_checkpoint(checkpoint, options.criterion, options.seed, activations, progress)
            plan = ranking.plan(target)
        with _progress("writing") as progress:
            write_pruned(
                checkpoint,
                plan,
                options.out,
                pad_to_uniform=options.pad_to_uniform,
                name=options.model,
                progress=progress,
            )
    note = _awkward_experts(checkpoint, plan.widths)
    return f"{options.model} -> {options.out}: {plan.criterion} at {plan.target} {_kept(plan.blocks)}{note}"


def _locate(options: argparse.Namespace) -> "ModelSource":
    from glu_prune.zoo.llama2c import is_llama2c
    from glu_prune.zoo.source import locate

    source = locate(options.model, options.revision)
    if is_llama2c(source.folder):
        msg = (
            f"{source.folder} is a llama2.c checkpoint; `glu-prune convert {source.folder} --out DIR` makes a stock one"
        )
        raise CheckpointError(msg)
    return source


def _awkward_experts(checkpoint: "Checkpoint", widths: Mapping[str, int]) -> str:
    """A warning if experts end up with widths on which transformers' grouped kernels crash."""
    stacked = [block for block in checkpoint.anatomy.blocks if block.down.expert is not None]
    size = checkpoint.dtype.itemsize
    if all(widths[block.name] * size % _ALIGNED == 0 for block in stacked):
        return ""
    return (
        f"\nnote: the width of its experts is no multiple of {_ALIGNED} bytes, on which transformers' grouped kernels "
        f'crash; load it with experts_implementation="eager", or prune with --multiple-of {_ALIGNED // size}'
    )


def _kept(blocks: Any) -> str:
    """`keeps 320 of 640 neurons in each of 5 GLU blocks`, or the range where blocks differ."""
    pairs = {(block.width, len(block.kept)) for block in blocks}
    if len(pairs) == 1:
        ((width, kept),) = pairs
        return f"keeps {kept} of {width} neurons in each of {len(blocks)} GLU blocks"
    before, after = sum(block.width for block in blocks), sum(len(block.kept) for block in blocks)
    return f"keeps {after} of {before} neurons in {len(blocks)} GLU blocks of {len(pairs)} kinds"


def _target(options: argparse.Namespace) -> "Target":
    from glu_prune.pruning.target import Target

    return Target.of(
        options.ratio,
        expansion_ratio=options.expansion_ratio,
        width=options.width,
        multiple_of=options.multiple_of,
        layer_ratios=dict(_layer_ratio(text) for text in options.layer_ratio),
        skip=[text if (number := whole(text)) is None else number for text in options.skip],
    )


def _layer_ratio(text: str) -> tuple[int, str]:
    layer, equals, ratio = text.partition("=")
    if not equals or (number := whole(layer)) is None:
        allowed = "write LAYER=RATIO, such as 0=0.1, or -1=0.1 for the last layer"
        msg = f"--layer-ratio {shown(text)} is not allowed; {allowed}"
        raise PlanError(msg)
    return number, ratio


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise PlanError(msg) from error


def _calibrated(options: argparse.Namespace, source: Any) -> Any:
    """Activation norms on the lines of the calibration file; the whole model is in memory while they are taken."""
    from glu_prune.pruning.calibration import measure
    from glu_prune.zoo.source import load

    if options.calibration is None:
        msg = f"criterion {options.criterion} looks at activations; give it text with --calibration FILE, one per line"
        raise PlanError(msg)
    lines = [line for line in _read(options.calibration).splitlines() if line.strip()]
    model, tokenizer = load(source, "auto", "cpu")
    return measure(model, [tokenizer(line).input_ids[:_MOST_TOKENS] for line in lines])


@contextmanager
def _progress(doing: str) -> Iterator["Progress"]:
    """A progress bar on standard error, in bytes; none where standard error is no terminal."""
    from tqdm import tqdm

    with tqdm(desc=doing, unit="B", unit_scale=True, disable=None, leave=False) as bar:

        def step(read: int, total: int) -> None:
            bar.total = total
            bar.update(read)

        yield step


@contextmanager
def _interruptible() -> Iterator[None]:
    """A request to terminate ends the command as Ctrl-C does, so that it cleans up after itself.

    Libraries may turn the interruption into an error of theirs; it stays an interruption.
    """
    asked = []

    def stop(number: int, _: object) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except BaseException as error:
        if asked:
            raise KeyboardInterrupt from error
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _measure(options: argparse.Namespace) -> str:
    import tempfile

    from glu_prune.efficiency.measure import Effort
    from glu_prune.efficiency.meter import CodeCarbonMeter
    from glu_prune.experiment.cell import DENSE, Arm, SeriesCell, Settings
    from glu_prune.experiment.engine import Engine
    from glu_prune.experiment.machine import machine
    from glu_prune.experiment.store import Store
    from glu_prune.judgement.measurement import findings
    from glu_prune.pruning.importance import criterion
    from glu_prune.pruning.ratio import parse_ratio
    from glu_prune.report.efficiency import measured_tables
    from glu_prune.report.session import SessionReport
    from glu_prune.zoo.source import locate

    how = criterion(options.criterion)
    if how.looks_at == "activations":
        msg = f"criterion {how.name} needs calibration text; cost does not depend on which neurons go, so take another"
        raise PlanError(msg)
    pruned = [Arm(how.name, parse_ratio(text), options.seed) for text in options.ratio]
    arms = tuple(dict.fromkeys((DENSE, *(arm for arm in pruned if arm.ratio))))
    workloads = _workloads(options)
    effort = Effort(options.rounds, options.window, options.processes, options.grid)
    source, settings = locate(options.model, options.revision), Settings(options.dtype, options.device)
    if options.out is not None:
        _refuse_unwritable(options.out)
    report = SessionReport()
    with _interruptible(), tempfile.TemporaryDirectory(prefix="glu-prune-") as scratch, _rounds() as (steps, say):
        engine = Engine(Store(options.store or Path(scratch)), CodeCarbonMeter(options.grid), say, steps)
        cells = [SeriesCell(source, arms, each, settings, effort) for each in workloads]
        for cell in cells:
            engine.check(cell)
        measured = [engine.series(cell).series for cell in cells]
    for arm in arms[1:] or arms:
        about = options.model, arm.ratio, measured, arm.label
        report.add(measured_tables(*about, findings(*about)))
    notes = [*report.notes, *(_written(report, options.out) if options.out is not None else ())]
    tables = (f"{heading}\n{text}" for heading, text in report.tables("simple"))
    asked = ", ".join(dict.fromkeys(series.prompts for series in measured))
    here = f"{machine()}; {options.dtype} on {options.device}; prompts: {asked}"
    return "\n\n".join([*tables, *notes, here])


def _refuse_unwritable(folder: Path) -> None:
    """Raises `StoreError` before anything long begins if tables cannot be written to `folder`."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        msg = f"{folder} cannot be written: {there} is no folder that may be written to; choose another with --out DIR"
        raise StoreError(msg)


def _written(report: "SessionReport", folder: Path) -> Iterator[str]:
    """Writes the tables; says so if that fails, as what was measured is still to be shown."""
    try:
        report.write(folder)
    except OSError as error:
        yield f"tables were not written to {folder}: {error}"


def _workloads(options: argparse.Namespace) -> tuple["Workload", ...]:
    """Those of a suite, or those that lengths and batch sizes make."""
    from glu_prune.efficiency.workload import WORKLOADS, drawn

    sizes = options.batch_size, options.prompt_tokens, options.new_tokens
    if options.suite is None:
        prompt_tokens, new_tokens = (64 if sizes[1] is None else sizes[1]), (32 if sizes[2] is None else sizes[2])
        return tuple(drawn(prompt_tokens, new_tokens, size) for size in dict.fromkeys(sizes[0] or (1, 8)))
    if any(size is not None for size in sizes):
        msg = "--suite has sizes of its own; leave out --batch-size, --prompt-tokens and --new-tokens, or --suite"
        raise WorkloadError(msg)
    return WORKLOADS[options.suite]


@contextmanager
def _rounds() -> Iterator[tuple["Steps", Callable[[str], None]]]:
    """A progress bar over the rounds of a workload, none where standard error is no terminal; and lines there."""
    from tqdm import tqdm

    with tqdm(unit="round", disable=None, leave=False) as bar:

        def step(what: str, done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.set_description(what)

        yield step, lambda line: tqdm.write(line, file=sys.stderr)


def _compare(options: argparse.Namespace) -> tuple[str, bool]:
    from glu_prune.baseline.compare import FAIL_ON, compare, paired, refuse_incomparable
    from glu_prune.baseline.sources import outcomes
    from glu_prune.report.against import compared_rows, refuse_file, text, write

    if options.out is not None:
        refuse_file(options.out)
    found = compare(paired(outcomes(options.before), outcomes(options.after)), options.margin)
    refuse_incomparable(found)
    rows = compared_rows(found, str(options.before))
    if options.out is not None:
        write(options.out, rows)
    return text(rows), not any(each.outcome in FAIL_ON[options.fail_on] for each in found)


def _convert(options: argparse.Namespace) -> str:
    from glu_prune.zoo.llama2c import convert

    convert(options.folder, options.out)
    return f"{options.folder} -> {options.out}: a stock checkpoint"


def _shape(options: argparse.Namespace) -> str:
    from glu_prune.zoo.shapes import shape, write_shape

    with _interruptible():
        write_shape(shape(options.name), options.out, options.dtype, options.seed, options.tokenizer)
    return f"{options.name} -> {options.out}: random weights in {options.dtype}, seed {options.seed}"


def _init(options: argparse.Namespace) -> str:
    from glu_prune.project.write import is_here, write_project

    with _interruptible():
        names = write_project(options.folder, options.model)
    fetch = "" if is_here(options.model) else f"hf download {options.model} && "
    there = "" if options.folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(options.folder))} && "
    written = "\n".join(f"  {name}" for name in names)
    return f"{options.folder}:\n{written}\nnext: {fetch}{there}pytest benchmarks -k ratio_0.5"


def _doctor(options: argparse.Namespace) -> tuple[str, bool]:
    from glu_prune.experiment.cell import Settings
    from glu_prune.readiness.needs import Run, doctor

    settings = Settings(options.dtype, options.device, options.batch_size)
    return doctor(Run(_expectations(options), settings, options.store))


def _prefetch(options: argparse.Namespace) -> tuple[str, bool]:
    from glu_prune.readiness.prefetch import prefetch

    return prefetch(_expectations(options))


def _expectations(options: argparse.Namespace) -> tuple[Path, ...]:
    """The files that were named; also makes the data folder that was named the one that is used."""
    from glu_prune.evaluation.local import VARIABLE
    from glu_prune.judgement.expectation import files

    if options.data is not None:
        os.environ[VARIABLE] = str(options.data.absolute())
    return tuple(dict.fromkeys(file for place in options.files for file in files(place)))


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


def _store(options: argparse.Namespace) -> str | tuple[str, bool]:
    from glu_prune.report import stored

    found: str | tuple[str, bool] = options.act(stored, options)
    return found


def _criteria(_: argparse.Namespace) -> str:
    from glu_prune.report.listings import criteria

    return criteria()


def _families(options: argparse.Namespace) -> str:
    from glu_prune.survey.table import prove_families, recorded, show

    return show(recorded() if options.prove is None else prove_families(options.prove), "simple")


def _models(_: argparse.Namespace) -> str:
    from glu_prune.zoo.source import MODELS, embedded_models

    return "\n".join(f"{name}  {MODELS / name}" for name in embedded_models())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="glu-prune", description="Width pruning of GLU language models.")
    parser.set_defaults(offline=False, interrupted="nothing was written")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    plan = commands.add_parser("plan", help="what a target means for a model, from its configuration alone")
    _add_target(plan)
    plan.set_defaults(run=_plan)

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
    prune.set_defaults(run=_prune)

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
    measure.set_defaults(run=_measure)

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
    compare.set_defaults(run=_compare)

    convert = commands.add_parser("convert", help="turn a llama2.c checkpoint into a stock one")
    convert.add_argument("folder", type=Path, metavar="FOLDER", help="with a model .bin and its tokenizer .bin")
    convert.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    convert.set_defaults(run=_convert)

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
    shape.set_defaults(run=_shape)

    init = commands.add_parser("init", help="write tests, claims and a CI workflow into a repository of your own")
    init.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="(default: this folder)")
    init.add_argument("--model", default="tiny-base", metavar="NAME", help="what to make claims about; see `models`")
    init.set_defaults(run=_init)

    doctor = commands.add_parser("doctor", help="check that all is here that a run of expectation files needs")
    _add_files(doctor)
    doctor.add_argument("--store", type=Path, default=Path(".glu-prune"), metavar="DIR", help="where records will be")
    doctor.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    doctor.add_argument("--dtype", default="float32", choices=_DTYPES)
    doctor.add_argument("--batch-size", type=_positive, default=64, metavar="N", help="sequences at once (default: 64)")
    doctor.set_defaults(run=_doctor, offline=True)

    prefetch = commands.add_parser("prefetch", help="download what is missing for a run of expectation files")
    _add_files(prefetch)
    prefetch.set_defaults(run=_prefetch, interrupted="what was fetched stays")

    _add_store(commands)
    commands.add_parser("criteria", help="list the ways to rank neurons").set_defaults(run=_criteria)
    families = commands.add_parser("families", help="list the model families of transformers that can be pruned")
    families.add_argument("--prove", nargs="*", metavar="FAMILY", help="prove these (none named: all) here and now")
    families.set_defaults(run=_families)
    commands.add_parser("models", help="list the embedded models and where they are").set_defaults(run=_models)
    return parser


def _add_store(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    ls.set_defaults(run=_store, act=lambda stored, options: stored.listed(options.store, options.model, options.task))
    show = which.add_parser("show", parents=[shared], help="show what one record says beside its items")
    show.add_argument("key", metavar="KEY", help="the beginning of its key, as `ls` shows it")
    show.set_defaults(run=_store, act=lambda stored, options: stored.shown(options.store, options.key))
    verify = which.add_parser("verify", parents=[shared], help="check every record; exit status 1 if one is damaged")
    verify.set_defaults(run=_store, act=lambda stored, options: stored.verified(options.store))
    gc = which.add_parser("gc", parents=[shared], help="remove records that nothing will ask for again, and leftovers")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    gc.set_defaults(run=_store, act=lambda stored, options: stored.collected(options.store, dry_run=options.dry_run))
    export = which.add_parser("export", parents=[shared], help="write all items of all cells to one file")
    export.add_argument("out", type=Path, metavar="FILE", help="a new .parquet or .csv")
    export.set_defaults(run=_store, act=lambda stored, options: stored.exported(options.store, options.out))


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
