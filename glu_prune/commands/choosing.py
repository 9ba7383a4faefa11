"""The command that chooses a pruning for a need."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from glu_prune.commands.arguments import (
    Calibration,
    CalibrationTokens,
    Chat,
    DataFolder,
    Device,
    Engine,
    Limit,
    Model,
    Offline,
    StoreFolder,
    WeightsDtype,
    positive,
    use,
)
from glu_prune.commands.store import DEFAULT
from glu_prune.commands.terminal import Answer, connections, interruptible, work_shown
from glu_prune.errors import PlanError, invalid
from glu_prune.pruning.engines import ENGINES
from glu_prune.units import positive_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glu_prune.judgement.kinds.choice import ChoiceCase, ChoiceClaim
    from glu_prune.pruning.engines import EngineName

SEVERAL = ("--keep", "--watch")
"""Options that take several values."""


def choose(
    model: Model,
    keep: Annotated[
        list[str],
        typer.Option(
            metavar="CAPABILITY:MARGIN ...",
            help="What must not lose more, in units of its metric; also TASK:MARGIN, TASK:METRIC:MARGIN.",
        ),
    ],
    minimise: Annotated[
        Literal["bytes", "parameters", "time_per_output_token", "time_to_first_token", "joules_per_token"],
        typer.Option(
            metavar="FIGURE",
            help="What is to be small: bytes, parameters, or, measured of those that pass, time_per_output_token, "
            "time_to_first_token or joules_per_token.",
        ),
    ] = "bytes",
    among: Annotated[str, typer.Option(metavar="A,B,C", help="Criteria; see `glu-prune criteria`.")] = "ppm,l2",
    ratios: Annotated[
        str, typer.Option(metavar="FIRST:LAST:STEP", help="Of neurons that go; or a list, as 0.1,0.25.")
    ] = "0.05:0.6:0.05",
    multiple_of: Annotated[
        int | None, typer.Option(parser=positive, metavar="N", help="Round widths to a multiple of N.")
    ] = None,
    engine: Engine = None,
    allocation: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Of `uniform`, `by_score`, `by_sensitivity` (measured first), and files of sensitivities.",
        ),
    ] = "uniform",
    confidence: Annotated[
        float, typer.Option(metavar="SHARE", help="Least probability that all that are certified keep their margins.")
    ] = 0.95,
    watch: Annotated[
        list[str] | None,
        typer.Option(metavar="CAPABILITY ...", help="Tell what the chosen one does to these, which decide nothing."),
    ] = None,
    check: Annotated[
        int | None,
        typer.Option(
            parser=positive, metavar="N", help="Hold the chosen one against N items of each task that --limit leaves."
        ),
    ] = None,
    calibration: Calibration = None,
    calibration_tokens: CalibrationTokens = None,
    limit: Limit = None,
    chat: Chat = False,
    device: Device = "cpu",
    dtype: WeightsDtype = "float32",
    data: DataFolder = None,
    store: StoreFolder = DEFAULT,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the chosen model, its card, and claims that pin its promise."),
    ] = None,
    offline: Offline = False,
) -> Answer:
    """Choose the cheapest pruning that keeps what you need.

    What is chosen is certified to keep it; exit code 1 if there is no such pruning.
    """
    from glu_prune.api.choosing import choice, chosen_of, with_sensitivities
    from glu_prune.api.running import Told, run
    from glu_prune.experiment.cell import Settings
    from glu_prune.judgement.arms import looks_at_text
    from glu_prune.models.source import locate
    from glu_prune.pruning.checkpoint import refuse_existing
    from glu_prune.pruning.sensitivity import BY_SENSITIVITY
    from glu_prune.report import choices

    if out is not None:
        refuse_existing(out)
    use(data)
    claim = _claim(keep, minimise, among, ratios, _multiple(multiple_of, engine), confidence, watch or (), check)
    if check is not None and limit is None:
        msg = "--check is about items that --limit leaves; give both"
        raise typer.BadParameter(msg)
    ways = _listed(allocation)
    looking = any(map(looks_at_text, claim.among))
    text = _calibration(claim, calibration, calibration_tokens, used=looking or BY_SENSITIVITY in ways)
    shown = text if looking else None
    choice(model, claim, shown, limit, chat_template=chat)  # finds what is wrong before layers are measured
    work, say = work_shown()
    settings, told = Settings(dtype, device), Told(work, say)
    with connections(refused=offline), interruptible(lambda: work.snapshot().kept(store)):
        locate(model)
        measured = with_sensitivities(model, ways, claim.among, text, store, told)
        claim = claim.model_copy(update={"allocation": measured}).beside(Path.cwd())
        case = choice(model, claim, shown, limit, chat_template=chat)
        report = run((case,), settings, store, told=told)
    found = chosen_of(report)
    said = [choices.text(found, report.groups, report.findings)]
    if out is not None and found.chosen:
        said += _written(case, found, out)
    return Answer("\n".join(said), bool(found.chosen))


def _claim(
    keep: "Sequence[str]",
    minimise: str,
    among: str,
    ratios: str,
    multiple_of: int | None,
    confidence: float,
    watch: "Sequence[str]",
    check: int | None,
) -> "ChoiceClaim":
    from pydantic import ValidationError

    from glu_prune.judgement.kinds.choice import ChoiceClaim

    margins: dict[str, str] = {}
    for each in keep:
        name, colon, margin = each.rpartition(":")
        if not colon or name in margins:
            what = f"{name} is given twice" if name in margins else "write CAPABILITY:MARGIN, such as reading:0.02"
            msg = f"--keep {each}: {what}"
            raise typer.BadParameter(msg)
        margins[name] = margin
    said: dict[str, Any] = {
        "choose": {name: _number(name, margin) for name, margin in margins.items()},
        "minimise": minimise,
        "among": _listed(among),
        "ratios": ratios if ":" in ratios else _listed(ratios),
        "multiple_of": multiple_of,
        "confidence": confidence,
        "watch": tuple(watch),
        "check": check,
        "why": "what is needed",
    }
    try:
        return ChoiceClaim.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        option = {"choose": "keep"}.get(str(first["loc"][0]), str(first["loc"][0])).replace("_", "-")
        msg = f"--{option}: {invalid(first)}"
        raise typer.BadParameter(msg) from error


def _multiple(given: int | None, engine: "EngineName | None") -> int | None:
    """To what widths are rounded; what an engine wants, unless a multiple of that is given."""
    if engine is None:
        return given
    wanted = ENGINES[engine].multiple
    if given is not None and given % wanted:
        msg = f"--multiple-of {given} is no multiple of {wanted}, as --for {engine} wants widths; leave out one of them"
        raise typer.BadParameter(msg)
    return given or wanted


def _number(name: str, margin: str) -> float:
    if (found := positive_number(margin)) is None:
        msg = f"--keep {name}:{margin}: {margin!r} is no margin; it is a number above 0, in units of the metric"
        raise typer.BadParameter(msg)
    return found


def _listed(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _calibration(
    claim: "ChoiceClaim", file: Path | None, tokens: int | None, *, used: bool
) -> dict[str, object] | None:
    """The text that is shown; raises `PlanError` where one lacks that a criterion looks at, or nothing looks at it."""
    from glu_prune.judgement.arms import looks_at_text
    from glu_prune.pruning.calibration_text import text_file

    looking = [name for name in claim.among if looks_at_text(name)]
    if file is None:
        if looking or tokens is not None:
            what = f"criterion {looking[0]} looks at activations" if looking else "--calibration-tokens is about text"
            msg = f"{what}; give text with --calibration FILE, or `everyday`, which this package brings"
            raise PlanError(msg)
        return None
    if not used:
        msg = f"no criterion of {', '.join(claim.among)} looks at text; leave out --calibration"
        raise PlanError(msg)
    return {"file": str(text_file(str(file), Path.cwd())), "tokens": tokens}


def _written(case: "ChoiceCase", found: Any, out: Path) -> list[str]:
    """Writes the chosen model with its certificate, and the file that pins it; lines about them."""
    from glu_prune.commands.pruning import activations, stock_source
    from glu_prune.files import write_whole
    from glu_prune.models.source import locate
    from glu_prune.pruning.disk_model import open_disk_model
    from glu_prune.pruning.disk_pruning import rank_on_disk, write_pruned
    from glu_prune.pruning.sensitivity import Sensitivity
    from glu_prune.report.card import pruned_card
    from glu_prune.report.choices import CALIBRATION, SENSITIVITY, certificate, pinned

    experiment = case.experiment
    arm = case.candidate(found.chosen)
    source = stock_source(locate(experiment.model, experiment.revision))
    checkpoint = open_disk_model(source.folder)
    seen = activations(source, arm.calibration) if arm.calibration else None
    plan = rank_on_disk(checkpoint, str(arm.criterion), arm.seed, seen).plan(arm.aim)
    write_pruned(checkpoint, plan, out, card=pruned_card(source, checkpoint, plan, certificate(found)))
    if arm.calibration:
        write_whole(out / CALIBRATION, arm.calibration.file.read_bytes())
    if arm.target is not None and arm.target.curves:
        write_whole(out / SENSITIVITY, Sensitivity(str(arm.criterion), arm.target.curves).to_json())
    file = out / "expectations.yaml"
    write_whole(file, pinned(case, found))
    return [f"{out}: the chosen model, with its certificate in README.md", f"{file}: claims that pin what it promises"]
