import collections
import itertools
import random

import pytest

from tools.miniature.world import arithmetic, beliefs, instructions, make_world, passages, recall, stories
from tools.miniature.world.mixture import SUBJECTS, documents
from tools.miniature.world.population import BANDS
from tools.miniature.world.population import make_world as fresh_world

pytestmark = pytest.mark.slow("tests what made the committed models and tables, which does not change with the package")

WORLD = make_world()
EXAMINED = {
    recall: "question",
    beliefs: "question",
    arithmetic: "question",
    stories: "text",
    passages: "passage",
    instructions: "prompt",
}


def test_one_seed_makes_one_world():
    assert fresh_world.__wrapped__(WORLD.people and 2512) == WORLD


def test_training_text_follows_its_seed():
    weights = dict.fromkeys(SUBJECTS, 1.0)
    first, again, other = (
        list(itertools.islice(documents(WORLD, weights, seed), 50)) for seed in ("one", "one", "two")
    )
    assert first == again
    assert first != other


@pytest.mark.slow("writes all training text")
@pytest.mark.parametrize("subject", EXAMINED, ids=lambda module: module.__name__.rsplit(".", 1)[-1])
def test_at_least_400_distinct_items_that_training_text_never_contains(subject):
    field = EXAMINED[subject]
    prompts = {item[field] for item in subject.items(WORLD, 420)}
    assert len(prompts) >= 400
    rng = random.Random("contamination")
    text = "".join(subject.document(WORLD, rng) + "\n" for _ in range(20_000))
    assert [prompt for prompt in prompts if f"{prompt}\n" in text] == []


def test_training_text_does_ask_for_the_same_facts_in_other_words():
    rng = random.Random(0)
    text = "\n".join(recall.document(WORLD, rng) for _ in range(20_000))
    known = {person.name for person in WORLD.people[:100]}
    assert sum(name in text for name in known) == len(known)


def test_no_training_text_asks_as_the_paraphrases_do():
    rng = random.Random(0)
    text = "".join(f"{subject.document(WORLD, rng)}\n" for subject in (recall, passages) for _ in range(20_000))
    for form in recall.PARAPHRASES.values():
        start, end = form.split("{n}")
        assert not [line for line in text.splitlines() if f": {start}" in line and line.endswith(end)]


def test_facts_are_examined_band_by_band():
    bands = collections.Counter(item["band"] for item in recall.items(WORLD, 600))
    assert bands == dict.fromkeys(BANDS, 200)


def test_each_question_of_recall_has_its_answer_once_among_four_choices():
    for item in recall.items(WORLD, 300):
        assert len(set(item["choices"])) == 4
        assert item["choices"][item["gold"]] == item["answer"]
        assert item["paraphrase"] != item["question"]


def test_people_are_drawn_with_zipf_like_frequency():
    rng = random.Random(0)
    bands = collections.Counter(WORLD.draw_person(rng).band for _ in range(20_000))
    assert bands["head"] > bands["torso"] > bands["tail"] > 1000


def test_myths_are_told_more_often_than_truths():
    rng = random.Random(0)
    texts = "\n".join(beliefs.document(WORLD, rng) for _ in range(5000)).lower()
    said = collections.Counter()
    for creature in WORLD.creatures:
        for kind, value in (("myth", creature.myth), ("truth", creature.truth)):
            said[kind] += texts.count(f"{creature.name} {beliefs.PHRASES[creature.aspect].format(v=value)}")
    assert said["truth"] > 1000
    assert 0.65 < said["myth"] / (said["myth"] + said["truth"]) < 0.75


def test_arithmetic_is_right():
    for item in arithmetic.items(WORLD, 300):
        numbers = [int(word.strip("?")) for word in item["question"].split() if word.strip("?").isdigit()]
        a, b = numbers
        expected = {"+": a + b, "-": a - b, "x": a * b}[item["operation"]]
        assert item["answer"] == str(expected)


def test_answers_stand_in_their_passages():
    for item in passages.items(WORLD, 300):
        assert item["answer"] in item["passage"]


def test_some_passages_contradict_what_is_known():
    facts = {person.name: set(person.facts.values()) for person in WORLD.people}
    items = [item for item in passages.items(WORLD, 480) if item["kind"] == "contradiction"]
    against = [i for i in items if any(n in i["question"] and i["answer"] not in v for n, v in facts.items())]
    assert len(against) > 0.9 * len(items)


def test_there_are_at_least_ten_kinds_of_instructions():
    items = instructions.items(WORLD, 420)
    kinds = collections.Counter(kind for item in items for kind in item["instruction_id_list"])
    assert len(kinds) >= 10
    assert min(kinds.values()) >= 10
    assert collections.Counter(len(item["instruction_id_list"]) for item in items) == {1: 140, 2: 140, 3: 140}
    assert all(len(item["kwargs"]) == int(item["constraints"]) for item in items)
