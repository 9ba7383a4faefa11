"""Models that give one answer whatever they are asked, on tasks whose key is unbalanced, in many forms of questions."""

import json
import random
import re
from decimal import Decimal

import pytest

from glu_prune.evaluation.answers import labels
from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.floors import null_results
from glu_prune.evaluation.nulls import Chooser, Writer
from glu_prune.experiment.cell import DENSE
from glu_prune.experiment.record import FloorRecord, ScoreRecord
from glu_prune.judgement.kinds.direction import judge
from glu_prune.judgement.scores import COMMONEST, PairedScores
from tests.helpers.records import record
from tests.helpers.verdicts import case

ITEMS = 300
LETTERS = "ABCD"
UNBALANCED = (0.14, 0.58, 0.14, 0.14)
BALANCED = (0.25, 0.25, 0.25, 0.25)

CODE = """\
import json
from pathlib import Path

from datasets import Dataset

def load(part=None, **_):
    items = json.loads((Path(__file__).parent / "items.json").read_text())
    return {"test": Dataset.from_list([item for item in items if part in (None, item["part"])])}
"""
HEAD = """\
task: NAME
custom_dataset: !function quiz.load
test_split: test
"""
CHOICES = """\
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: "{{choices}}"
doc_to_target: gold
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
WRITTEN = """\
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "{{letter}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 16}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
filter_list:
  - name: letter
    filter: [{function: regex, regex_pattern: "answer is \\\\(?([A-D])"}, {function: take_first}]
"""
BY_NUMBER = WRITTEN.replace('"{{letter}}"', "gold").replace(
    "generation", 'doc_to_choice: ["A", "B", "C", "D"]\ngeneration'
)
GROUP = """\
group: quiz
task: [quiz_0, quiz_1]
aggregate_metric_list: [{metric: acc, aggregation: mean, weight_by_size: true}]
"""


def plain(item):
    return item | {"text": f"Q{item['number']}", "choices": list(LETTERS)}


def fewer_choices(item):
    """Every third question lacks the last choice."""
    return plain(item) | {"choices": list(LETTERS[: 3 if item["number"] % 3 == 0 and item["gold"] < 3 else 4])}


def with_texts(item):
    return plain(item) | {"choices": [f"{letter}. {item['number']}{place}" for place, letter in enumerate(LETTERS)]}


def listed(item):
    """The options stand in the question, and are answered by their texts."""
    choices = [f"thing {item['number']}{place}" for place in range(4)]
    listing = "\n".join(f"{place + 1}) {choice}" for place, choice in enumerate(choices))
    return plain(item) | {"text": f"Q{item['number']}\n{listing}\nAnswer:", "choices": choices}


def two_spellings(item):
    return plain(item) | {"choices": [f"({each})" for each in LETTERS] if item["number"] % 2 else list(LETTERS)}


FORMS = {
    "same choices": (plain, CHOICES),
    "differing choice sets": (fewer_choices, CHOICES),
    "letters before texts": (with_texts, CHOICES),
    "listed options": (listed, CHOICES),
    "two spellings of a letter": (two_spellings, CHOICES),
    "letters extracted by a pattern": (plain, WRITTEN),
    "a target that is a number": (plain, BY_NUMBER),
    "groups of subtasks": (plain, CHOICES),
}


def quiz(folder, form, shares):
    """A task in `folder`, whose key has these shares; in a group of two, the second part has the letters turned by one."""
    make, settings = FORMS[form]
    generator, grouped = random.Random(5), form == "groups of subtasks"
    key = generator.choices(range(4), shares, k=ITEMS)
    key = [(gold + (number % 2 if grouped else 0)) % 4 for number, gold in enumerate(key)]
    items = [
        make({"number": number, "gold": gold, "letter": LETTERS[gold], "part": number % 2})
        for number, gold in enumerate(key)
    ]
    (folder / "quiz.py").write_text(CODE)
    (folder / "items.json").write_text(json.dumps(items))
    names = ("quiz_0", "quiz_1") if grouped else ("quiz",)
    for part, name in enumerate(names):
        of_part = f"dataset_kwargs: {{part: {part}}}\n" if grouped else ""
        (folder / f"{name}.yaml").write_text(HEAD.replace("NAME", name) + of_part + settings)
    if grouped:
        (folder / "group.yaml").write_text(GROUP)
    return items


def answering(items, picks):
    """A model that picks choice `picks[n]` of question n."""

    def number(prompt):
        return int(re.search(r"Q(\d+)", prompt)[1])

    def prefer(_, choices):
        pick = picks[number(choices[0][0])] % len(choices)
        return [pick, *(place for place in range(len(choices)) if place != pick)]

    chooser, writer = Chooser(prefer), Writer(lambda prompt, _: f"The answer is ({LETTERS[picks[number(prompt)]]}).")
    for each in (chooser, writer):
        each.content_free = False
    return chooser, writer


def recorded(result):
    metrics = {name: ScoreRecord(**vars(scores)) for name, scores in result.metrics.items()}
    return record(items=result.items, outputs=result.outputs, answers=result.answers, metrics=metrics)


def verdict(folder, form, dense, pruned, items, direction="up"):
    """Of the claim that a pruned model with these picks does better."""
    evaluator, text = Evaluator(), "generate" in FORMS[form][1]
    of = {arm: answering(items, picks)[text] for arm, picks in (("dense", dense), ("pruned", pruned))}
    results = {arm: evaluator.evaluate(lm, "quiz", folder=folder) for arm, lm in of.items()}
    nulls = null_results(evaluator, "quiz", folder=folder)
    floors = FloorRecord(
        key="k", task="quiz", versions={}, created="now", items=results["dense"].items,
        nulls={name: {m: ScoreRecord(**vars(s)) for m, s in null.metrics.items()} for name, null in nulls.items()},
    )  # fmt: skip
    metric = "exact_match" if text else "acc"
    claim = case(direction, metric=metric)
    records = {DENSE: recorded(results["dense"]), claim.arm: recorded(results["pruned"])}
    return judge(claim, PairedScores(Capability("skill", "quiz", metric, "a skill"), records, floors))


def guesses(seed):
    return random.Random(seed).choices(range(4), k=ITEMS)


def mostly_b(form, seed=2):
    """B in 88 %; of subtasks, the second's letters are turned by one."""
    generator, grouped = random.Random(seed), form == "groups of subtasks"
    picks = [1 if generator.random() < 0.88 else generator.randrange(4) for _ in range(ITEMS)]
    return [(pick + (number % 2 if grouped else 0)) % 4 for number, pick in enumerate(picks)]


@pytest.mark.parametrize("form", FORMS)
def test_one_answer_to_everything_is_no_ability(tmp_path, form):
    items = quiz(tmp_path, form, UNBALANCED)
    found = verdict(tmp_path, form, guesses(1), mostly_b(form), items)
    assert found.pruned - found.dense > 0.1
    # Where all items offer the same, a null model gives the answer that is right most often: the same one.
    assert (found.outcome, found.floor_of) == (
        "artefact",
        "majority choice" if form == "same choices" else COMMONEST,
    )


@pytest.mark.parametrize("form", FORMS)
def test_an_honest_gain_with_balanced_keys_stays_confirmed(tmp_path, form):
    items = quiz(tmp_path, form, BALANCED)
    generator = random.Random(3)
    knows = [item["gold"] if generator.random() < 0.4 else generator.randrange(4) for item in items]
    assert verdict(tmp_path, form, guesses(1), knows, items).outcome == "confirmed"


@pytest.mark.parametrize("form", ["listed options", "letters extracted by a pattern"])
def test_a_dense_model_that_gives_one_answer_has_nothing_to_lose(tmp_path, form):
    items = quiz(tmp_path, form, UNBALANCED)
    found = verdict(tmp_path, form, mostly_b(form), guesses(1), items, "down")
    assert found.outcome == "inconclusive"
    assert "dense under the floor" in found.note


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ([("Q", " A"), ("Q", " B")], ("a", "b")),
        ([("Q", "(A)"), ("Q", "(B)")], ("a", "b")),
        ([("Q", "A. 34"), ("Q", "B. 12")], ("a", "b")),
        ([("Q", "no"), ("Q", "Yes.")], ("no", "yes")),
        ([("Is it\n1 - Ann\n2 - Bob\nAnswer:", " Ann"), ("Is it\n1 - Ann\n2 - Bob\nAnswer:", " Bob")],
         ("choice 1", "choice 2")),
        ([("Bob met Ann.", "Ann"), ("Bob met Ann.", "Bob")], ("ann", "bob")),
        ([("Ann ran.", " She"), ("Bob ran.", " She")], ("#0", "#1")),
        ([("Q", "A man walks"), ("Q", "A dog walks")], ("a man walks", "a dog walks")),
        ([("Q", "A. x"), ("Q", "A. y")], ("a. x", "a. y")),
    ],
)  # fmt: skip
def test_choices_are_called_what_a_model_can_see_of_them(choices, expected):
    assert labels(choices) == expected


def test_the_place_of_a_choice_that_no_model_sees_is_no_policy(tmp_path):
    """As in TruthfulQA, where the first choice is always the true one, and the prompt lists none."""
    items = quiz(tmp_path, "same choices", (1, 0, 0, 0))
    for item in items:
        item["choices"] = [f"a tale of {item['number']}{place}" for place in range(4)]
    (tmp_path / "items.json").write_text(json.dumps(items))
    generator = random.Random(4)
    knows = [0 if generator.random() < 0.6 else pick for pick in guesses(2)]
    found = verdict(tmp_path, "same choices", guesses(1), knows, items)
    assert (found.outcome, Decimal(found.floor).quantize(Decimal("0.01"))) == ("confirmed", Decimal("0.25"))
