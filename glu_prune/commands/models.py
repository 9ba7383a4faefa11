"""Commands that write models, and that list what there is to prune and to rank by."""

import argparse

from glu_prune.commands.terminal import interruptible


def convert(options: argparse.Namespace) -> str:
    """A llama2.c checkpoint, written as a stock one."""
    from glu_prune.models.llama2c import convert

    convert(options.folder, options.out)
    return f"{options.folder} -> {options.out}: a stock checkpoint"


def shape(options: argparse.Namespace) -> str:
    """A model of a known shape with random weights."""
    from glu_prune.models.shapes import shape, write_shape

    with interruptible():
        write_shape(shape(options.name), options.out, options.dtype, options.seed, options.tokenizer)
    return f"{options.name} -> {options.out}: random weights in {options.dtype}, seed {options.seed}"


def models(_: argparse.Namespace) -> str:
    """The embedded models, a line each."""
    from glu_prune.models.source import MODELS, embedded_models

    return "\n".join(f"{name}  {MODELS / name}" for name in embedded_models())


def criteria(_: argparse.Namespace) -> str:
    """The ways to rank neurons."""
    from glu_prune.report.listings import criteria

    return criteria()


def families(_: argparse.Namespace) -> str:
    """The model families that can be pruned, as recorded with this package."""
    from glu_prune.commands.families import families_table
    from glu_prune.models.families import recorded

    return families_table(recorded(), "simple")
