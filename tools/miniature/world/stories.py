"""Short stories from a small grammar: the plain language of this world."""

import random

from tools.miniature.world import lexicon
from tools.miniature.world.population import World
from tools.miniature.world.split import held_out

_TEMPLATES = (
    "{Who} went to the {place} with a {adj} {thing}.",
    "In the {place}, {who} found a {adj} {thing}.",
    "{Who} was very {mood} that day.",
    'The {animal} said, "I lost my {thing}."',
    "{Who} gave the {thing} to the {animal}.",
    "They shared some {food} near the {place}.",
    "The {thing} was {adj} and {colour}.",
    "Then the {animal} ran to the {place}.",
    "{Who} asked the {helper} for help.",
    "The {helper} had a {colour} {thing} and some {food}.",
    "At night, the {place} was quiet.",
    "After that, {who} was not {mood} any more.",
    "The {animal} liked {food} more than anything.",
    "Behind the {place}, there was a {colour} {thing}.",
)
_OPENINGS = (
    "Once there was a {mood} {animal} named {name}.",
    "One day, a {adj} {animal} named {name} came to the {place}.",
    "{name} the {animal} lived near the {place}.",
    "Long ago, a {mood} {helper} called {name} owned a {adj} {thing}.",
)
_ENDINGS = (
    "In the end, {who} was {mood}.",
    "From then on, {who} kept the {thing} safe.",
    "They all went home and ate {food}.",
    "And {who} never lost the {thing} again.",
)


def fill(template: str, rng: random.Random, **fixed: str) -> str:
    """`template` with its slots drawn from the lexicon, or taken from `fixed`."""
    who = fixed.get("who", f"the {rng.choice(lexicon.ANIMALS)}")
    slots = {
        "who": who,
        "Who": who[0].upper() + who[1:],
        "place": rng.choice(lexicon.PLACES),
        "adj": rng.choice(lexicon.ADJECTIVES),
        "thing": rng.choice(lexicon.THINGS),
        "mood": rng.choice(lexicon.MOODS),
        "animal": rng.choice(lexicon.ANIMALS),
        "food": rng.choice(lexicon.FOODS),
        "colour": rng.choice(lexicon.COLOURS),
        "helper": rng.choice(lexicon.PEOPLE_WORDS),
    }
    return template.format(**(slots | fixed))


def sentences(rng: random.Random, count: int, **fixed: str) -> list[str]:
    """`count` plain sentences; words given in `fixed` (`thing="key"`) are used where a template has the slot."""
    return [fill(template, rng, **fixed) for template in rng.sample(_TEMPLATES, count)]


def _story(world: World, rng: random.Random) -> str:
    name = rng.choice(world.first_names)
    fixed = {
        "who": name,
        "animal": rng.choice(lexicon.ANIMALS),
        "thing": rng.choice(lexicon.THINGS),
        "place": rng.choice(lexicon.PLACES),
    }
    opening = fill(rng.choice(_OPENINGS), rng, name=name, **fixed)
    ending = fill(rng.choice(_ENDINGS), rng, **fixed)
    return " ".join([opening, *sentences(rng, rng.randint(4, 7), **fixed), ending])


def document(world: World, rng: random.Random) -> str:
    """A story that is not in the examination."""
    while held_out(story := _story(world, rng)):
        pass
    return story


def items(world: World, count: int) -> list[dict[str, object]]:
    """`count` different stories that no training text contains."""
    rng = random.Random("stories")
    made: dict[str, None] = {}
    while len(made) < count:
        if held_out(story := _story(world, rng)):
            made[story] = None
    return [{"text": story} for story in made]
