"""Proves model families: `python -m tools.survey [FAMILY ...]`.

With names it shows what it finds; without, it proves all and writes the table into the package and the documentation.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import transformers
from tqdm import tqdm

from glu_prune.commands.families import families_table
from glu_prune.models.families import FILE, Families
from tools.survey import tiny
from tools.survey.prove import prove

PAGE = Path(__file__).parents[2] / "docs" / "families.md"
_HEAD = """# Model families

Every causal language model of the installed transformers, and some others, as a tiny model with random weights: built,
cut, and checked against every property of [the pruning contract](pruning.md#the-contract) in three ways (uniform,
one block alone, and at random). *Proven* means that all of them held.

GLU blocks are named by the parameters that hold them. Families without a GLU have a plain feed-forward network, or
none. Made by `python -m tools.survey`; do not edit.
"""


def prove_families(names: Sequence[str]) -> Families:
    """What pruning does to the families in `names`; progress goes to standard error."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    proven = tuple(prove(name) for name in tqdm(names, disable=None))
    return Families(transformers=transformers.__version__, families=proven)


def main(arguments: list[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tools.survey", description="Proves model families.")
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="as transformers names it (none: all, recorded)")
    names = parser.parse_args(arguments).families
    if unknown := [name for name in names if name not in tiny.FAMILIES]:
        parser.error(f"{unknown[0]!r} is no model type of transformers {transformers.__version__} that this covers")
    found = prove_families(names or tiny.FAMILIES)
    if not names:
        FILE.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(f"{_HEAD}\n{families_table(found, 'pipe')}\n", encoding="utf-8")
    sys.stdout.write(f"{families_table(found, 'simple')}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
