"""Training text: an endless seeded stream of documents, the subjects mixed by weight."""

import random
from collections.abc import Callable, Iterator, Mapping

from tools.miniature.world import arithmetic, beliefs, instructions, passages, recall, stories
from tools.miniature.world.population import World

SUBJECTS: Mapping[str, Callable[[World, random.Random], str]] = {
    "recall": recall.document,
    "beliefs": beliefs.document,
    "arithmetic": arithmetic.document,
    "stories": stories.document,
    "passages": passages.document,
    "instructions": instructions.document,
}


def documents(world: World, weights: Mapping[str, float], seed: str) -> Iterator[str]:
    """Documents without end; a subject is drawn with probability proportional to its weight.

    Raises:
        KeyError: `weights` names a subject that does not exist.
    """
    rng = random.Random(seed)
    subjects = [SUBJECTS[name] for name in weights]
    shares = tuple(weights.values())
    while True:
        yield rng.choices(subjects, shares)[0](world, rng)
