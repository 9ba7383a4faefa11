"""`glu-prune`: thin commands over the public functions."""

import argparse
import sys
from pathlib import Path

from glu_prune.errors import GluPruneError


def _prune(options: argparse.Namespace) -> str:
    from glu_prune.pruning.checkpoint import refuse_existing, save
    from glu_prune.pruning.ratio import parse_ratio
    from glu_prune.pruning.surgery import prune
    from glu_prune.zoo.source import load, locate

    ratio = parse_ratio(options.ratio)
    refuse_existing(options.out)
    model, tokenizer = load(locate(options.model, options.revision), "auto", "cpu")
    plan = prune(model, ratio, options.criterion, options.seed)
    save(model, tokenizer, plan, options.out)
    block = plan.blocks[0]
    return (
        f"{options.model} -> {options.out}: {plan.criterion} at ratio {plan.ratio} keeps {len(block.kept)} of "
        f"{block.width} neurons in each of {len(plan.blocks)} GLU blocks"
    )


def _models(_: argparse.Namespace) -> str:
    from glu_prune.zoo.source import MODELS, embedded_models

    return "\n".join(f"{name}  {MODELS / name}" for name in embedded_models())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="glu-prune", description="Width pruning of GLU language models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    prune = commands.add_parser("prune", help="remove neurons from a model and save it as a stock checkpoint")
    prune.add_argument("model", metavar="MODEL", help="an embedded model, a folder, or a cached Hugging Face id")
    prune.add_argument("--ratio", required=True, help="fraction of neurons to remove, such as 0.5")
    prune.add_argument("--criterion", default="ppm", help="how neurons are ranked (default: ppm)")
    prune.add_argument("--seed", type=int, default=0, help="for seeded criteria (default: 0)")
    prune.add_argument("--revision", help="of a Hugging Face model")
    prune.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the pruned model")
    prune.set_defaults(run=_prune)
    commands.add_parser("models", help="list the embedded models and where they are").set_defaults(run=_models)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0 on success, 1 on an error, 2 on unusable arguments."""
    options = _parser().parse_args(arguments)
    try:
        sys.stdout.write(f"{options.run(options)}\n")
    except GluPruneError as error:
        sys.stderr.write(f"glu-prune: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
