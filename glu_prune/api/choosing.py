"""Choosing the cheapest pruning that keeps what is needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.api.running import NOBODY, STORE, Told, run
from glu_prune.errors import NotMeasuredError
from glu_prune.judgement.asked import capabilities_asked, suite_of
from glu_prune.judgement.case import Entry
from glu_prune.judgement.experiment import Experiment
from glu_prune.judgement.kinds.choice import ChoiceCase, ChoiceClaim
from glu_prune.pruning.sensitivity import BY_SENSITIVITY
from glu_prune.results.choices import ChoiceResult
from glu_prune.results.report import Report

if TYPE_CHECKING:
    from glu_prune.experiment.cell import Settings


def choice(
    model: str,
    claim: ChoiceClaim,
    calibration: Mapping[str, object] | None = None,
    limit: int | None = None,
    **more: object,
) -> ChoiceCase:
    """The case of a choice among prunings of `model`, whose capabilities may be tasks of lm-eval.

    Args:
        model: A name, a folder, a GGUF file or an id.
        claim: What is to be kept, and what to be small.
        calibration: `file`, `tokens` and `seed` of text for criteria that look at activations.
        limit: At most so many items of each task, drawn once.
        more: Other keys of an expectation file: `chat_template`, `revision`, `seed`.

    Raises:
        EvaluationError: there is no such capability or task.
        ValidationError: pydantic's, for a value that is not allowed.
    """
    suite = suite_of(model)
    asked = capabilities_asked(claim.capability_names, suite)
    names = {text: capability.name for text, capability in asked.items()}
    kept = {names[text]: margin for text, margin in claim.choose.items()}
    renamed = claim.model_copy(update={"choose": kept, "watch": tuple(names[text] for text in claim.watch)})
    items = {} if limit is None else dict.fromkeys((each.task for each in asked.values()), limit)
    said = {"model": model, "suite": suite, "calibration": calibration, "items": items, "expect": (renamed,)}
    experiment = Experiment.model_validate({**said, **more})
    by_name = {capability.name: capability for capability in asked.values()}
    entry = Entry("glu-prune choose", 0, experiment, by_name)
    return ChoiceCase.of(entry, renamed, f"{Path(model).name}-{renamed.name}", None)


def with_sensitivities(
    model: str,
    allocation: Sequence[str],
    among: Sequence[str],
    calibration: Mapping[str, object] | None,
    store: Path = STORE,
    told: Told = NOBODY,
) -> tuple[str, ...]:
    """`allocation` with files in the place of `by_sensitivity`, one for each criterion, which are measured if need be.

    Raises:
        GluPruneError: one cannot be measured.
    """
    if BY_SENSITIVITY not in allocation:
        return tuple(allocation)
    from glu_prune.experiment.layers import kept
    from glu_prune.experiment.store import Store
    from glu_prune.judgement.arms import Shown
    from glu_prune.models.source import locate
    from glu_prune.progress.work import Work
    from glu_prune.pruning.calibration_text import EVERYDAY, text_file

    shown = Shown.model_validate(calibration or {"file": str(text_file(EVERYDAY, Path.cwd()))})
    work, folder, files = told.work or Work(), Store(store).folder, []
    for name in among:
        with work.running(f"layers of {model} by {name}"):
            done = kept(folder, locate(model), name, 0, shown.text(), lambda now, all_: work.step("cuts", now, all_))
        files.append(str(done.absolute()))
    return (*(each for each in allocation if each != BY_SENSITIVITY), *files)


def choose(
    model: str,
    keep: Mapping[str, float],
    *,
    minimise: str = "bytes",
    among: Sequence[str] = ("ppm",),
    ratios: Sequence[float | str] | str = "0.05:0.6:0.05",
    multiple_of: int | None = None,
    allocation: Sequence[str] = ("uniform",),
    confidence: float = 0.95,
    watch: Sequence[str] = (),
    check: int | None = None,
    calibration: Mapping[str, object] | None = None,
    limit: int | None = None,
    store: str | Path = STORE,
    settings: "Settings | None" = None,
) -> ChoiceResult:
    """The cheapest pruning of `model` that is certified to lose less than each margin of `keep`.

    Half of the items finds the order of candidates, the other half certifies them, see `judgement.choosing`: with at
    least `confidence`, every one that is called certified keeps what it is to keep.

    Args:
        model: A name, a folder, a GGUF file or an id.
        keep: Capability, or task of lm-eval, to the largest loss that does not matter, in units of the metric.
        minimise: `bytes`, `parameters`, `time_per_output_token`, `time_to_first_token` or `joules_per_token`.
        among: Criteria.
        ratios: Of neurons that they remove: numbers, or `FIRST:LAST:STEP`.
        multiple_of: To a multiple of which widths are rounded.
        allocation: Of `uniform`, `by_score`, `by_sensitivity` (measured first, and kept in the store) and files.
        confidence: From 0.5 on, below 1.
        watch: Capabilities of which it is told what the chosen pruning does to them.
        check: How many items of each task, of those that `limit` leaves, the chosen pruning is held against.
        calibration: `file`, `tokens` and `seed` of text for criteria that look at activations.
        limit: At most so many items of each task, drawn once.
        store: The folder of records, or the address of a store elsewhere.
        settings: How models are run; on this CPU in float32 unless said otherwise.

    Raises:
        GluPruneError: something is missing, not allowed, or cannot be run.
        ValidationError: pydantic's, for a value that is not allowed.
    """
    from glu_prune.experiment.cell import Settings
    from glu_prune.experiment.shared import placed

    folder = placed(store)
    measured = with_sensitivities(model, tuple(allocation), tuple(among), calibration, folder)
    said = {"minimise": minimise, "among": among, "ratios": ratios, "multiple_of": multiple_of, "watch": tuple(watch)}
    said |= {"allocation": measured, "check": check}
    claim = ChoiceClaim.model_validate({"choose": keep, **said, "confidence": confidence, "why": "what is needed"})
    case = choice(model, claim, calibration, limit)
    return chosen_of(run((case,), settings or Settings(), folder))


def chosen_of(report: Report) -> ChoiceResult:
    """The only choice of a report; raises `NotMeasuredError` if it could not be made."""
    if not report.choices:
        raise NotMeasuredError("; ".join(each.message for each in report.cases))
    return report.choices[0]
