"""Words of the world: invented names from syllables, and everyday English words."""

import random

_ONSETS = "b br d dr f fl g gr h j k kl l m n p pr r s sk sl st t tr v w z".split()
_VOWELS = "a e i o u ai ea io".split()
_CODAS = "k l m n nd r rk s sk t th v x".split()


def invent(rng: random.Random, count: int, syllables: int, suffixes: tuple[str, ...] = ("",)) -> tuple[str, ...]:
    """`count` different capitalised names of `syllables` syllables, each ending in one of `suffixes`."""
    names: dict[str, None] = {}
    while len(names) < count:
        stem = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables))
        names[(stem + rng.choice(_CODAS) + rng.choice(suffixes)).capitalize()] = None
    return tuple(names)


JOBS = tuple(
    """baker tailor miner pilot judge nurse poet mason painter farmer sailor cook weaver butcher hunter clerk dentist
    printer singer dancer carpenter plumber teacher librarian chemist gardener jeweller blacksmith fisherman barber
    lawyer surgeon potter actor porter shepherd glazier tanner brewer courier""".split()
)
INSTRUMENTS = tuple(
    """fiddle harp flute drum trumpet lute organ banjo cello piano whistle horn zither bagpipe tuba oboe clarinet
    mandolin accordion gong bassoon recorder triangle guitar""".split()
)
PETS = tuple(
    """cat dog parrot goat rabbit pony turtle ferret goose snake lizard donkey hamster pigeon raven hedgehog pig frog
    spider owl canary mouse toad duck crab otter newt falcon hare swan""".split()
)
COLOURS = tuple("red blue green yellow black white grey brown purple orange silver golden".split())
THINGS = tuple(
    """lamp key basket mirror candle ladder kettle blanket clock bottle drum ring hammer letter box chair rope shovel
    bell boat map coin spoon umbrella hat coat bucket pillow wheel button""".split()
)
PLACES = tuple(
    """garden river forest market bridge harbour mill tower school field cave lake station castle beach hill kitchen
    library barn island""".split()
)
ANIMALS = tuple(
    """fox bear wolf mouse owl deer horse hen bee sheep badger squirrel crow whale seal mole snail beetle stork
    lamb""".split()
)
MOODS = tuple("happy sad proud tired angry calm brave shy hungry curious lonely cheerful".split())
ADJECTIVES = tuple("old small big shiny broken heavy strange pretty dusty warm quiet round".split())
PEOPLE_WORDS = tuple("neighbour friend sister brother teacher uncle aunt captain doctor stranger".split())
FOODS = tuple("bread soup cake cheese apples honey rice beans plums nuts fish pie".split())
SUBSTANCES = tuple(
    """moss bark sand salt clay resin pollen frost ash amber chalk dew smoke sap rust lichen seeds roots mud coral
    wax kelp thorns feathers""".split()
)
