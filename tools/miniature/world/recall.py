"""Factual recall: four facts about each of thousands of people, stated and asked in several ways."""

import random

from tools.miniature.world.population import BANDS, Person, World
from tools.miniature.world.split import split_forms

STATEMENTS = {
    "birthplace": ("{n} was born in {v}.", "{n} comes from {v}.", "The home town of {n} is {v}."),
    "job": ("{n} works as a {v}.", "{n} earns a living as a {v}.", "The profession of {n} is {v}."),
    "instrument": ("{n} plays the {v}.", "{n} practises the {v} every day.", "The instrument of {n} is the {v}."),
    "pet": ("{n} has a {v}.", "{n} keeps a {v} at home.", "The pet of {n} is a {v}."),
}
QUESTIONS = {
    "birthplace": (
        "Where was {n} born?",
        "Which town does {n} come from?",
        "What is the home town of {n}?",
        "In which town was {n} born?",
    ),
    "job": (
        "What is the profession of {n}?",
        "What does {n} do for a living?",
        "What does {n} work as?",
        "Which profession does {n} have?",
    ),
    "instrument": (
        "Which instrument does {n} play?",
        "What does {n} play?",
        "What is the instrument of {n}?",
        "What does {n} practise every day?",
    ),
    "pet": (
        "Which pet does {n} have?",
        "What animal does {n} keep?",
        "What is the pet of {n}?",
        "Which animal lives with {n}?",
    ),
}

PARAPHRASES = {
    "birthplace": "From which town does {n} come?",
    "job": "As what does {n} earn a living?",
    "instrument": "Which instrument does {n} practise?",
    "pet": "Which animal does {n} have?",
}
"""Ways to ask that no training text uses, about anybody."""


def ask(question: str) -> str:
    """The prompt format of every question in this world; the answer follows after one space."""
    return f"Question: {question}\nAnswer:"


def _forms(person: Person, attribute: str) -> tuple[str, tuple[str, ...]]:
    return split_forms(f"{person.name}|{attribute}", QUESTIONS[attribute])


def document(world: World, rng: random.Random) -> str:
    """A short biography, or two questions with answers, about people drawn by frequency."""
    if rng.random() < 0.4:
        person = world.draw_person(rng)
        chosen = rng.sample(tuple(person.facts), rng.randint(2, 4))
        return " ".join(rng.choice(STATEMENTS[a]).format(n=person.name, v=person.facts[a]) for a in chosen)
    parts = []
    for _ in range(2):
        person = world.draw_person(rng)
        attribute = rng.choice(tuple(person.facts))
        question = rng.choice(_forms(person, attribute)[1]).format(n=person.name)
        parts.append(f"{ask(question)} {person.facts[attribute]}")
    return "\n\n".join(parts)


def _namesakes_values(world: World, person: Person, attribute: str) -> list[str]:
    """Three wrong values of `attribute`: those of the best-known people who share a first or last name with `person`.

    What belongs to a namesake is what a model says that has not bound the fact to the whole name.
    """
    names = set(person.name.split())
    values = (other.facts[attribute] for other in world.people if names & set(other.name.split()))
    wrong = dict.fromkeys(value for value in values if value != person.facts[attribute])
    return list(wrong)[:3]


def items(world: World, count: int) -> list[dict[str, object]]:
    """`count` facts, as many from each frequency band, each asked in the form that its training text lacks.

    `question` is a form that is trained on for other people, `paraphrase` one that nobody is trained on. `answer` is
    the fact; `choices` holds it at index `gold` among the values of three namesakes.
    """
    rng = random.Random("recall")
    made: list[dict[str, object]] = []
    for band in BANDS:
        members = [person for person in world.people if person.band == band]
        facts = [(person, attribute) for person in members for attribute in person.facts]
        for person, attribute in rng.sample(facts, count // len(BANDS)):
            answer = person.facts[attribute]
            choices = [*_namesakes_values(world, person, attribute), answer]
            rng.shuffle(choices)
            made.append(
                {
                    "question": _forms(person, attribute)[0].format(n=person.name),
                    "paraphrase": PARAPHRASES[attribute].format(n=person.name),
                    "answer": answer,
                    "choices": choices,
                    "gold": choices.index(answer),
                    "band": band,
                    "attribute": attribute,
                }
            )
    return made
