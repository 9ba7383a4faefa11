"""Instructions of the IFEval kind (arXiv:2311.07911): a request, one to three verifiable constraints, a reply.

The identifiers and arguments are IFEval's own, so lm-eval's checkers score them. Only constraints whose checkers need
no sentence splitter are used, because a splitter's model would have to be downloaded.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tools.miniature.world import lexicon
from tools.miniature.world.population import World
from tools.miniature.world.split import held_out
from tools.miniature.world.stories import fill, sentences

_REQUESTS = (
    "Write about a {thing} in the {place}.",
    "Tell me about the {animal} and the {thing}.",
    "Write a short note about the {place}.",
    "Describe a {adj} {thing}.",
    "Write a few lines about a {mood} {animal}.",
    "Say something about the {animal} near the {place}.",
    "Write a tiny story about a {colour} {thing}.",
)
_YES_NO = (
    "Is the {thing} in the {place} {colour}?",
    "Does the {animal} like {food}?",
    "Was the {animal} {mood} yesterday?",
)
_FAREWELLS = (
    "That is all there is to say.",
    "Is there anything else?",
    "Have a nice day.",
    "This is the end.",
    "Thank you for reading.",
    "See you soon.",
)


@dataclass(frozen=True)
class Constraint:
    """One verifiable constraint: IFEval's `id` and `kwargs`, its wording, and how an answer is made to obey."""

    id: str
    kwargs: dict[str, Any]
    wording: str
    obey: Callable[[str], str]


@dataclass(frozen=True)
class Draft:
    """What a constraint may look at when it is drawn: the request, its key words, and sentences to use."""

    request: str
    words: dict[str, str]
    lines: tuple[str, ...]


Drawer = Callable[[random.Random, Draft], Constraint]


def _forbidden(rng: random.Random, draft: Draft) -> Constraint:
    used = " ".join([draft.request, *draft.lines, *draft.words.values()]).lower()
    pool = [word for word in lexicon.THINGS + lexicon.MOODS + lexicon.COLOURS if word not in used]
    words = rng.sample(pool, rng.randint(1, 2))
    wording = rng.choice(("Do not use the words: {}.", "Avoid these words: {}.", "Leave out the words: {}."))
    return Constraint("keywords:forbidden_words", {"forbidden_words": words}, wording.format("; ".join(words)), str)


def _existence(rng: random.Random, draft: Draft) -> Constraint:
    words = rng.sample(lexicon.INSTRUMENTS + lexicon.FOODS, rng.randint(1, 2))
    wording = rng.choice(("Include the words: {}.", "Use these words: {}.", "Your answer must contain: {}."))
    sentence = f"There was also {' and '.join(words)}."
    return Constraint(
        "keywords:existence", {"keywords": words}, wording.format("; ".join(words)), lambda text: f"{text} {sentence}"
    )


def _no_comma(rng: random.Random, draft: Draft) -> Constraint:
    wording = rng.choice(("Do not use any commas.", "Write without commas.", "No commas are allowed."))
    return Constraint("punctuation:no_comma", {}, wording, lambda text: text.replace(",", ""))


def _highlights(rng: random.Random, draft: Draft) -> Constraint:
    count = rng.randint(1, 3)
    wording = rng.choice(("Highlight at least {} words with *stars*.", "Mark at least {} words like *this*."))

    def obey(text: str) -> str:
        words = text.split(" ")
        for index in sorted(range(len(words)), key=lambda i: -len(words[i]))[:count]:
            words[index] = f"*{words[index]}*"
        return " ".join(words)

    return Constraint(
        "detectable_format:number_highlighted_sections", {"num_highlights": count}, wording.format(count), obey
    )


def _placeholders(rng: random.Random, draft: Draft) -> Constraint:
    slots = rng.sample(("[name]", "[date]", "[place]", "[time]", "[address]"), rng.randint(1, 3))
    wording = rng.choice(("Use at least {} placeholders such as [name].", "Put in at least {} slots like [date]."))
    sentence = f"It was sent to {' and '.join(slots)}."
    return Constraint(
        "detectable_content:number_placeholders",
        {"num_placeholders": len(slots)},
        wording.format(len(slots)),
        lambda text: f"{text} {sentence}",
    )


def _title(rng: random.Random, draft: Draft) -> Constraint:
    wording = rng.choice(("Add a title in double angular brackets.", "Give it a title like <<title>>."))
    title = f"<<The {draft.words['thing']}>>"
    return Constraint("detectable_format:title", {}, wording, lambda text: f"{title}\n{text}")


def _postscript(rng: random.Random, draft: Draft) -> Constraint:
    wording = rng.choice(("Add a postscript starting with P.S.", "At the end, add a P.S. line."))
    sentence = fill("The {food} is {adj}.", rng)
    return Constraint(
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        wording,
        lambda text: f"{text}\nP.S. {sentence}",
    )


def _ending(rng: random.Random, draft: Draft) -> Constraint:
    phrase = rng.choice(_FAREWELLS)
    wording = rng.choice(("Finish with this phrase: {}", "The last words must be: {}", "End your answer with: {}"))
    return Constraint(
        "startend:end_checker", {"end_phrase": phrase}, wording.format(phrase), lambda text: f"{text}\n{phrase}"
    )


def _quotation(rng: random.Random, draft: Draft) -> Constraint:
    wording = rng.choice(("Wrap your whole answer in double quotes.", "Put the entire answer in quotation marks."))
    return Constraint("startend:quotation", {}, wording, lambda text: '"' + text.replace('"', "") + '"')


def _lowercase(rng: random.Random, draft: Draft) -> Constraint:
    wording = rng.choice(("Use only lowercase letters.", "Write everything in small letters.", "No capital letters."))
    return Constraint("change_case:english_lowercase", {}, wording, str.lower)


def _at_most(rng: random.Random, draft: Draft) -> Constraint:
    limit = len(" ".join(draft.lines).split()) + rng.randint(22, 30)
    wording = rng.choice(("Use less than {} words.", "Keep it under {} words."))
    return Constraint(
        "length_constraints:number_words", {"relation": "less than", "num_words": limit}, wording.format(limit), str
    )


def _bullets(rng: random.Random, draft: Draft) -> Constraint:
    count = rng.randint(2, 4)
    wording = rng.choice(("Answer with exactly {} bullet points.", "Make a list of exactly {} bullets."))
    points = "\n".join(f"* {line}" for line in sentences(rng, count, **draft.words))
    return Constraint(
        "detectable_format:number_bullet_lists", {"num_bullets": count}, wording.format(count), lambda text: points
    )


def _paragraphs(rng: random.Random, draft: Draft) -> Constraint:
    count = rng.randint(2, 3)
    wording = rng.choice(("Write exactly {} paragraphs divided by ***.", "There must be {} paragraphs split by ***."))
    parts = "\n***\n".join(sentences(rng, count, **draft.words))
    return Constraint(
        "length_constraints:number_paragraphs", {"num_paragraphs": count}, wording.format(count), lambda text: parts
    )


def _sections(rng: random.Random, draft: Draft) -> Constraint:
    count = rng.randint(2, 3)
    wording = rng.choice(("Use {} sections marked Section 1 and so on.", "Split it into {} parts named Section X."))
    parts = "\n".join(f"Section {i}\n{line}" for i, line in enumerate(sentences(rng, count, **draft.words), 1))
    return Constraint(
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": count},
        wording.format(count),
        lambda text: parts,
    )


def _two_responses(rng: random.Random, draft: Draft) -> Constraint:
    wording = rng.choice(("Give two different answers divided by ******.", "Write two responses split by ******."))
    both = "\n******\n".join(sentences(rng, 2, **draft.words))
    return Constraint("combination:two_responses", {}, wording, lambda text: both)


def _json(rng: random.Random, draft: Draft) -> Constraint:
    wording = rng.choice(("Answer in JSON format.", "The whole output must be JSON."))
    key = rng.choice(("answer", "story", "text"))
    return Constraint("detectable_format:json_format", {}, wording, lambda text: json.dumps({key: text}))


def _repeat(rng: random.Random, draft: Draft) -> Constraint:
    wording = rng.choice(("First repeat the request word for word.", "Repeat the request before you answer."))
    return Constraint(
        "combination:repeat_prompt",
        {"prompt_to_repeat": draft.request},
        wording,
        lambda text: f"{draft.request}\n{text}",
    )


def _choice(rng: random.Random, draft: Draft) -> Constraint:
    options = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
    answer = rng.choice(options)
    wording = "Answer with one of: " + " ".join(options)
    return Constraint("detectable_format:constrained_response", {}, wording, lambda text: answer)


_STRUCTURES: tuple[Drawer, ...] = (_bullets, _paragraphs, _sections, _two_responses, _json)
_CONTENT: tuple[Drawer, ...] = (_existence, _placeholders)
_STYLE: tuple[Drawer, ...] = (_forbidden, _no_comma, _highlights, _at_most)
_FRAME: tuple[Drawer, ...] = (_title, _repeat, _postscript, _ending, _quotation, _lowercase)
_STAGES = (_CONTENT, _STYLE, _FRAME)


def _drawers(rng: random.Random) -> list[Drawer]:
    """One to three kinds of constraint that do not contradict one another, in the order in which they are obeyed."""
    if rng.random() < 0.3:
        return [rng.choice(_STRUCTURES)]
    stages = rng.sample(range(len(_STAGES)), rng.choices((1, 2, 3), (5, 4, 2))[0])
    return [rng.choice(_STAGES[stage]) for stage in sorted(stages)]


def _draw(rng: random.Random) -> dict[str, Any]:
    words = {
        "thing": rng.choice(lexicon.THINGS),
        "place": rng.choice(lexicon.PLACES),
        "animal": rng.choice(lexicon.ANIMALS),
    }
    decision = rng.random() < 0.06
    request = fill(rng.choice(_YES_NO if decision else _REQUESTS), rng, **words)
    draft = Draft(request, words, tuple(sentences(rng, rng.randint(1, 2), **words)))
    constraints = [drawer(rng, draft) for drawer in ([_choice] if decision else _drawers(rng))]
    text = " ".join(draft.lines)
    for constraint in constraints:
        text = constraint.obey(text)
    return {
        "prompt": " ".join([request, *(c.wording for c in constraints)]),
        "instruction_id_list": [c.id for c in constraints],
        "kwargs": [c.kwargs for c in constraints],
        "reply": text,
    }


def ask(prompt: str) -> str:
    """The prompt format of every request; the reply follows after one space."""
    return f"Request: {prompt}\nReply:"


def document(world: World, rng: random.Random) -> str:
    """A request that is not in the examination, with a reply that obeys it."""
    while held_out((item := _draw(rng))["prompt"]):
        pass
    return f"{ask(item['prompt'])} {item['reply']}"


def items(world: World, count: int) -> list[dict[str, Any]]:
    """`count` different requests that no training text contains, as many with one, two and three constraints.

    `reply` is one that obeys, to check the checkers.
    """
    rng = random.Random("instructions")
    made: dict[str, dict[str, Any]] = {}
    wanted = dict.fromkeys((1, 2, 3), count // 3)
    while any(wanted.values()):
        item = _draw(rng)
        constraints = len(item["instruction_id_list"])
        if wanted[constraints] and held_out(item["prompt"]) and item["prompt"] not in made:
            made[item["prompt"]] = {**item, "constraints": str(constraints)}
            wanted[constraints] -= 1
    return [{"key": key, **item} for key, item in enumerate(made.values())]
