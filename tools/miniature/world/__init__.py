"""The synthetic world from which the embedded models learn and on which they are examined.

Everything here is invented by seeded generators, so that no licence, no download and no contamination stands between a
figure and its meaning. One module per subject; each has `document(world, rng)`, a piece of training text, and
`items(world, count)`, examination items whose prompts never occur in training text (see `split`).
"""

from tools.miniature.world.population import WORLD_SEED, World, make_world

__all__ = ["WORLD_SEED", "World", "make_world"]
