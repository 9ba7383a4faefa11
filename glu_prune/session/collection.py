"""Which cases a session has: those of its expectation files about models that are here, or that are asked for."""

from collections.abc import Collection, Sequence

import pytest

from glu_prune import options
from glu_prune.errors import ExpectationError
from glu_prune.judgement.case import Case
from glu_prune.judgement.expectation import cases_about, files, read, told_apart
from glu_prune.judgement.experiment import ANY
from glu_prune.models.source import identity, locate
from glu_prune.readiness.requirements import is_here, is_run
from glu_prune.sources.judged import packed_cases, published_cases


def read_cases(config: pytest.Config, packed: Collection[str] | None = None) -> tuple[Case, ...]:
    """The cases that the options choose, file by file; those about the models in a pack, if that is judged.

    Raises:
        ExpectationError: a file cannot be used, or none is about the model that was asked for.
        ModelNotFoundError: that model is not here.
    """
    place = options.place(config, "--glu-expectations")
    cases = _declared(config)
    wanted = config.getoption("--glu-model")
    if wanted is not None:
        models = dict.fromkeys(case.experiment.model for case in cases)
        cases = cases_about(cases, wanted)
        if not cases:
            msg = f"no expectation file in {place} is about model {wanted!r}; they are about: {', '.join(models)}"
            raise ExpectationError(msg)
    if packed is not None:
        return tuple(packed_cases(place, cases, packed))
    return tuple(published_cases(place, cases) if options.judges_published(config) else _runnable(cases, wanted))


def cases_of_others(config: pytest.Config) -> tuple[Case, ...]:
    """The cases about other models than the one that is asked for, if one is.

    Raises:
        ExpectationError: a file cannot be used.
    """
    wanted = config.getoption("--glu-model")
    if wanted is None:
        return ()
    one = identity(wanted)
    named = (case for case in _declared(config) if case.experiment.model != ANY)
    return tuple(case for case in named if identity(case.experiment.model) != one)


def left_out(config: pytest.Config) -> str:
    """The models of all claims, and why a run that asks for none by name has none of them.

    Raises:
        ExpectationError: a file cannot be used.
    """
    models = dict.fromkeys(case.experiment.model for case in _declared(config) if case.ABOUT_RUNS)
    return ", ".join(
        "any model (--glu-model NAME)" if name == ANY
        else f"{name} (--glu-model {name})" if is_here(name)
        else f"{name} (not on this machine)"
        for name in models
    )  # fmt: skip


def _declared(config: pytest.Config) -> tuple[Case, ...]:
    """All that the expectation files declare."""
    place = options.place(config, "--glu-expectations")
    return told_apart([case for file in files(place) for case in read(options.relative(config, file))])


def _runnable(cases: Sequence[Case], wanted: str | None) -> list[Case]:
    """Cases that can be run; those of a model that is `wanted` by name, else of models that are here.

    Raises:
        ModelNotFoundError: the wanted model is not here.
    """
    if wanted is not None:
        locate(wanted, cases[0].experiment.revision)
    return [case for case in cases if case.ABOUT_RUNS and (wanted is not None or is_run(case))]
