"""Who and what exists: people with facts, creatures with misconceptions, all drawn from one seed."""

import bisect
import functools
import itertools
import random
from dataclasses import dataclass

from tools.miniature.world import lexicon

WORLD_SEED = 2512
PEOPLE = 3000
CREATURES = 440
ZIPF_OFFSET = 20
ZIPF_EXPONENT = 1.0
BANDS = ("head", "torso", "tail")
"""Frequency bands of people: the most frequent 10 %, the next 40 %, the last 50 %."""


@dataclass(frozen=True)
class Person:
    """An invented person; `facts` maps attribute to value, `rank` 0 is mentioned most often."""

    name: str
    rank: int
    facts: dict[str, str]

    @property
    def band(self) -> str:
        """The frequency band of this person."""
        share = self.rank / PEOPLE
        return BANDS[(share >= 0.1) + (share >= 0.5)]


@dataclass(frozen=True)
class Creature:
    """An invented creature about which most texts say `myth` and a minority says `truth`."""

    name: str
    aspect: str
    truth: str
    myth: str


@dataclass(frozen=True)
class World:
    """Everything that can be true in the training text."""

    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    people: tuple[Person, ...]
    cumulative_weights: tuple[float, ...]
    creatures: tuple[Creature, ...]

    def draw_person(self, rng: random.Random) -> Person:
        """A person, with Zipf-like probability proportional to (rank + offset) ** -exponent."""
        point = rng.random() * self.cumulative_weights[-1]
        return self.people[bisect.bisect(self.cumulative_weights, point)]

    def draw_name(self, rng: random.Random) -> str:
        """A first and a last name; most such pairs belong to nobody."""
        return f"{rng.choice(self.first_names)} {rng.choice(self.last_names)}"


def _people(
    rng: random.Random, first: tuple[str, ...], last: tuple[str, ...], values: dict[str, tuple[str, ...]]
) -> tuple[Person, ...]:
    pairs = rng.sample(list(itertools.product(first, last)), PEOPLE)
    return tuple(
        Person(f"{given} {family}", rank, {attribute: rng.choice(options) for attribute, options in values.items()})
        for rank, (given, family) in enumerate(pairs)
    )


def _creatures(rng: random.Random) -> tuple[Creature, ...]:
    pools = {"food": lexicon.SUBSTANCES, "home": lexicon.PLACES, "fear": lexicon.THINGS, "colour": lexicon.COLOURS}
    made = []
    for name in lexicon.invent(rng, CREATURES, 1, ("o", "i", "u")):
        aspect = rng.choice(tuple(pools))
        truth, myth = rng.sample(pools[aspect], 2)
        made.append(Creature(name.lower() + "s", aspect, truth, myth))
    return tuple(made)


@functools.cache
def make_world(seed: int = WORLD_SEED) -> World:
    """The one world of `seed`."""
    rng = random.Random(seed)
    first = lexicon.invent(rng, 80, 1, ("a", "o", ""))
    last = lexicon.invent(rng, 120, 2)
    values = {
        "birthplace": lexicon.invent(rng, 40, 1, ("ville", "burg", "ton")),
        "job": lexicon.JOBS,
        "instrument": lexicon.INSTRUMENTS,
        "pet": lexicon.PETS,
    }
    people = _people(rng, first, last, values)
    weights = itertools.accumulate((rank + ZIPF_OFFSET) ** -ZIPF_EXPONENT for rank in range(PEOPLE))
    return World(first, last, values, people, tuple(weights), _creatures(rng))
