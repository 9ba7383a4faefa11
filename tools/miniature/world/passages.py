"""Reading: answers stand in a passage, sometimes one step away, sometimes against what the model has memorised."""

import random
from dataclasses import dataclass

from tools.miniature.world.population import World
from tools.miniature.world.recall import QUESTIONS, STATEMENTS
from tools.miniature.world.split import held_out

RELATIONS = ("sister", "brother", "teacher", "neighbour", "cousin")
KINDS = ("direct", "two_hop", "contradiction")
_HOPS = {
    "birthplace": "Where was the {r} of {n} born?",
    "job": "What is the profession of the {r} of {n}?",
    "instrument": "Which instrument does the {r} of {n} play?",
    "pet": "Which pet does the {r} of {n} have?",
}


@dataclass(frozen=True)
class _Passage:
    """A passage with everything that can be asked about it, as (kind, question, answer)."""

    text: str
    questions: tuple[tuple[str, str, str], ...]


def _passage(world: World, rng: random.Random) -> _Passage:
    """Four or five facts about three people, one of them perhaps known by heart otherwise, and one relation."""
    known = world.draw_person(rng).name if rng.random() < 0.5 else None
    names = [known or world.draw_name(rng), world.draw_name(rng), world.draw_name(rng)]
    attributes = rng.sample(tuple(world.values), 2)
    subjects = rng.sample([(name, attribute) for name in names for attribute in attributes], rng.randint(4, 5))
    told = {subject: rng.choice(world.values[subject[1]]) for subject in subjects}
    lines = [rng.choice(STATEMENTS[a]).format(n=name, v=value) for (name, a), value in told.items()]
    questions = [
        ("contradiction" if name == known else "direct", rng.choice(QUESTIONS[a]).format(n=name), value)
        for (name, a), value in told.items()
    ]
    (near, attribute), answer = rng.choice(tuple(told.items()))
    relation, far = rng.choice(RELATIONS), world.draw_name(rng)
    lines.insert(rng.randint(0, len(lines)), f"The {relation} of {far} is {near}.")
    questions.append(("two_hop", _HOPS[attribute].format(r=relation, n=far), answer))
    return _Passage(" ".join(lines), tuple(questions))


def ask(passage: str, question: str) -> str:
    """The prompt of a reading item; the answer follows after one space."""
    return f"Passage: {passage}\nQuestion: {question}\nAnswer:"


def document(world: World, rng: random.Random) -> str:
    """A passage with three questions and their answers; no passage of the examination."""
    while held_out((passage := _passage(world, rng)).text):
        pass
    chosen = rng.sample(passage.questions, 3)
    asked = "".join(f"\nQuestion: {question}\nAnswer: {answer}" for _, question, answer in chosen)
    return f"Passage: {passage.text}{asked}"


def items(world: World, count: int) -> list[dict[str, object]]:
    """`count` questions on different passages that no training text contains, the kinds in equal parts."""
    rng = random.Random("passages")
    made: dict[str, dict[str, object]] = {}
    wanted = {kind: count // len(KINDS) for kind in KINDS}
    while any(wanted.values()):
        passage = _passage(world, rng)
        kind, question, answer = rng.choice(passage.questions)
        if wanted[kind] and held_out(passage.text) and passage.text not in made:
            made[passage.text] = {"passage": passage.text, "question": question, "answer": answer, "kind": kind}
            wanted[kind] -= 1
    return list(made.values())
