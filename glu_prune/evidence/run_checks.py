"""Checks of efficiency runs: times that are not what they are named, and comparisons of unequal work."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from statistics import fmean

from glu_prune.evidence.check import grouped, ratios_of, workloads_of
from glu_prune.evidence.figures import Evidence, Run
from glu_prune.pruning.alignment import ALIGNED
from glu_prune.pruning.ratio import show_ratio
from glu_prune.results.findings import Finding

NEAR = 0.02
"""Relative difference up to which a time to first token is the whole time."""
UNEQUAL = 0.05
"""Relative difference of lengths from which runs did not do the same work."""
LEAST_RUNS = 5
LEAST_TOKENS = 2
"""Per prompt: with fewer, the first token is the last."""


def first_token_is_last(evidence: Evidence) -> Iterator[Finding]:
    """Times to first token that are the time of the whole generation, per prompt or per batch.

    Where the number of prompts is not given, the whole time must be the same multiple of them in all runs, however
    long these were: a first token does not wait for the number of those that follow.
    """
    for (model, workload), all_runs in grouped(evidence.runs, lambda run: (run.model, run.workload)):
        runs = tuple(run for run in all_runs if run.figures.get("ttft_ms", 0) > 0 and _seconds(run))
        says = runs and (_whole_time(runs) or _whole_time_of_unknown_prompts(runs))
        if says:
            yield Finding(
                check="first_token_is_last",
                model=model,
                subject=workload,
                says=f"{workload}: {says}: it is the time to the last token",
                spoils=frozenset({"ttft_ms"}),
                ratios=ratios_of(runs),
                workloads=(workload,),
            )


def _whole_time(runs: Sequence[Run]) -> str | None:
    for step in ("prompt", "batch"):
        quotients = [_first_over_whole(run, step) for run in runs]
        if all(quotient is not None and abs(quotient - 1) <= NEAR for quotient in quotients):
            lengths = [length for run in runs if (length := _length(run, per_prompt=True))]
            return (
                f"ttft_ms is the time of all generated tokens of a {step}, within {NEAR:.0%}, in each of {len(runs)} "
                f"runs of {min(lengths):.3g} to {max(lengths):.3g} tokens per prompt"
            )
    return None


def _first_over_whole(run: Run, step: str) -> float | None:
    """Time to first token over that of all tokens of a step; None if it is not known, or if there is but one token."""
    batch = 1.0 if step == "prompt" else run.figures.get("batch_size", 0.0)
    prompts, length = run.figures.get("measured_prompts", 0), _length(run, per_prompt=True)
    if batch <= 0 or length is None or length < LEAST_TOKENS:
        return None
    return run.figures["ttft_ms"] / 1000 / (_seconds(run) * batch / prompts)


def _whole_time_of_unknown_prompts(runs: Sequence[Run]) -> str | None:
    if len(runs) < LEAST_RUNS or any("measured_prompts" in run.figures for run in runs):
        return None
    multiples = [_seconds(run) / (run.figures["ttft_ms"] / 1000) for run in runs]
    tokens = [run.figures.get("new_tokens", 0) for run in runs]
    varied = min(tokens) > 0 and max(tokens) / min(tokens) - 1 > 5 * NEAR
    if not varied or max(multiples) / min(multiples) - 1 > NEAR:
        return None
    return (
        f"the time of all generated tokens is {fmean(multiples):.4g} x ttft_ms, within {NEAR:.0%}, in each of "
        f"{len(runs)} runs of {min(tokens):.0f} to {max(tokens):.0f} tokens, as if there were so many prompts"
    )


def _seconds(run: Run) -> float:
    """Time in generation: as given, else from tokens and their rate; 0 if neither is known."""
    if (given := run.figures.get("generation_seconds", 0)) > 0:
        return given
    rate = run.figures.get("tokens_per_second", 0)
    return run.figures.get("new_tokens", 0) / rate if rate > 0 else 0.0


def unequal_lengths(evidence: Evidence) -> Iterator[Finding]:
    """Workloads whose runs generated unequal numbers of tokens at different ratios.

    What a prompt costs once is then spread over more or fewer tokens, so that figures per token change although no
    token does; and totals grow with the work. That holds at any batch size: tokens per second are spoiled in batches,
    too, where rows that have ended are counted on until the longest has. In batches that were counted as equally long
    the same positions were computed; their speed per position compares, so nothing is said of them here. A time
    to first token does not depend on what follows, unless `first_token_is_last`.
    """
    for (model, workload), runs in grouped(evidence.runs, lambda run: (run.model, run.workload)):
        per_prompt = all(run.figures.get("measured_prompts", 0) > 0 for run in runs)
        lengths = {
            ratio: fmean(found)
            for ratio, group in grouped(runs, lambda run: run.ratio)
            if (found := [length for run in group if (length := _length(run, per_prompt=per_prompt))])
        }
        if len(lengths) < 2 or max(lengths.values()) / min(lengths.values()) - 1 <= UNEQUAL:
            continue
        yield _lengths_finding(model, workload, runs, lengths, per_prompt=per_prompt)


def _lengths_finding(
    model: str, workload: str, runs: Sequence[Run], lengths: Mapping[Decimal, float], *, per_prompt: bool
) -> Finding:
    unit = "new tokens per prompt" if per_prompt else "new tokens per run (the number of prompts is not given)"
    shown = ", ".join(f"{length:.4g} at {show_ratio(ratio)}" for ratio, length in lengths.items())
    growth = max(lengths.values()) / min(lengths.values()) - 1
    figures = {name for run in runs for name in run.figures}
    comparable = {"joules_per_token", "tokens_per_second", "generation_seconds", "window_seconds"} & figures
    return Finding(
        check="unequal_lengths",
        model=model,
        subject=workload,
        says=f"{workload}: {unit} differ by {growth:.0%} between ratios ({shown}): the runs did not do the same work",
        spoils=frozenset(comparable | {name for run in runs for name in run.energies}),
        ratios=tuple(lengths),
        workloads=(workload,),
    )


def _length(run: Run, *, per_prompt: bool) -> float | None:
    tokens = run.figures.get("new_tokens", 0)
    prompts = run.figures.get("measured_prompts", 0) if per_prompt else 1
    return tokens / prompts if tokens > 0 and prompts > 0 else None


def unaligned_width(evidence: Evidence) -> Iterator[Finding]:
    """Runs on an accelerator at widths that its kernels cannot take in whole pieces, though they can the dense model's.

    Nothing is spoilt: how much the alignment takes is not known without a run at an aligned width beside it.
    """
    for model, all_runs in grouped(evidence.runs, lambda run: run.model):
        runs = tuple(run for run in all_runs if run.accelerator and run.width)
        odd = {run.ratio: run.width for run in runs if run.width % ALIGNED}
        if not odd or any(run.width % ALIGNED for run in runs if not run.ratio):
            continue
        shown = ", ".join(f"{width} at {show_ratio(ratio)}" for ratio, width in sorted(odd.items()))
        on = ", ".join(sorted({run.accelerator for run in runs}))
        yield Finding(
            check="unaligned_width",
            model=model,
            subject="intermediate_size",
            says=f"intermediate_size: widths that are no multiple of {ALIGNED} on {on} ({shown}): what is timed there "
            "is the alignment as much as the pruning; time an aligned width beside each (`glu-prune measure "
            f"--aligned {ALIGNED}`)",
            ratios=tuple(sorted(odd)),
            workloads=workloads_of(run for run in runs if run.ratio in odd),
        )
