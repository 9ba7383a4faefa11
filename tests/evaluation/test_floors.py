import itertools
import json
import math
import os
import random
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import evaluate as evaluation
from glu_prune.evaluation import floors, local_data, null_names, nulls, once
from glu_prune.evaluation.capability import EMBEDDED
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.lm import CountingLM
from glu_prune.models.source import load, locate

needs_data = pytest.mark.skipif(
    not os.environ.get(local_data.VARIABLE), reason=f"{local_data.VARIABLE} names no folder of benchmark data"
)
WRITERS = {"constant word", "word loop", "sentence loop", "lowercase loop", "empty", "echo", "echo loop"}
CHOOSERS = {"uniform", "longest answer", "shortest answer"}
EXPECTED = {
    "tiny_recall": WRITERS | {"majority answer"},
    "tiny_arithmetic": WRITERS | {"majority answer"},
    "tiny_reading": WRITERS | {"majority answer"},
    "tiny_instructions": WRITERS,
    "tiny_recall_mc": CHOOSERS,
    "tiny_truthfulness": CHOOSERS,
    "tiny_stories": {"unigram"},
}


@pytest.fixture(scope="module")
def evaluator():
    return Evaluator()


@pytest.fixture(scope="module")
def embedded(evaluator):
    return {task: floors.null_results(evaluator, task) for task in EXPECTED}


def request(*args, doc_id=0, task="t"):
    return SimpleNamespace(args=args, doc_id=doc_id, task_name=task, request_type="loglikelihood")


def reply(write, prompt="Ask: it", **settings):
    return nulls.Writer(write).generate_until([request(prompt, {"max_gen_toks": 4, **settings})])[0]


# What comes out on the embedded tasks


def test_every_embedded_task_has_floors():
    assert {capability.task for capability in EMBEDDED} == set(EXPECTED)


@pytest.mark.parametrize("task", EXPECTED)
def test_each_task_meets_the_nulls_that_fit_it(embedded, task):
    assert set(embedded[task]) == EXPECTED[task]


@pytest.mark.parametrize("task", ["tiny_recall_mc", "tiny_arithmetic"])
def test_nulls_answer_the_items_that_real_models_answer(evaluator, embedded, task):
    lm = CountingLM(*load(locate("tiny-base"), "float32", "cpu"), batch_size=64)
    real = evaluator.evaluate(lm, task)
    for null, result in embedded[task].items():
        assert (result.items, result.documents) == (real.items, real.documents), null
        assert {metric: scores.weights for metric, scores in result.metrics.items()} == {
            metric: scores.weights for metric, scores in real.metrics.items()
        }
        assert len(result.outputs) == len(result.items)
        assert result.positions == result.scored_positions == 0


def test_every_null_model_is_described_and_none_that_is_not_there(embedded):
    made = {null for results in embedded.values() for null in results}
    assert made == set(null_names.NULLS) - {"majority choice"}  # no embedded task offers the same choices everywhere


def test_guessing_scores_what_chance_says_without_luck(embedded):
    assert set(embedded["tiny_recall_mc"]["uniform"].metrics["acc"].values) == {0.25}
    truthfulness = embedded["tiny_truthfulness"]["uniform"].metrics
    assert truthfulness["mc2"].score == pytest.approx(1 / 3)
    # MC1 looks at four of the six choices: ties among them would all go to the first, which is the true one.
    assert truthfulness["mc1"].score == pytest.approx(0.25, abs=0.002)


def test_declared_chances_are_no_better_than_content_free_output(embedded):
    for capability in EMBEDDED:
        scores = {null: result.metrics[capability.metric].score for null, result in embedded[capability.task].items()}
        _, best = null_names.best_floor(scores, higher_is_better=capability.higher_is_better)
        if capability.chance is not None:
            assert best >= capability.chance - 0.002, capability.name


@pytest.mark.parametrize("task", ["tiny_recall", "tiny_arithmetic", "tiny_reading"])
def test_the_majority_answer_is_right_as_often_as_it_occurs(embedded, task):
    result = embedded[task]["majority answer"]
    ((_, times),) = Counter(str(document["answer"]) for document in result.documents).most_common(1)
    assert result.metrics["exact_match"].score == pytest.approx(times / len(result.items))


def test_each_null_is_scored_on_its_own_answers(evaluator, embedded):
    """Requests are kept from model to model; answers must not be."""
    (task,) = evaluator.tasks("tiny_arithmetic").values()
    kept = task.instances
    outputs = [
        evaluator.evaluate(nulls.Writer(lambda _prompt, _words, word=word: word), "tiny_arithmetic").outputs
        for word in ("one", "two", "one")
    ]
    assert [set(each) for each in outputs] == [{"one"}, {"two"}, {"one"}]
    assert task.instances is kept
    assert embedded["tiny_arithmetic"]["constant word"].outputs[0] == "the"


def stub_task(built: list[dict]) -> SimpleNamespace:
    """A task of four documents with two requests each, which remembers for which settings it has built them."""
    task = SimpleNamespace(instances=[])

    def build(**settings):
        built.append(settings)
        task.instances = [SimpleNamespace(doc=None, doc_id=n // 2, resps=[], filtered_resps={}) for n in range(8)]

    task.build_all_requests = build
    once.build_requests_once(task)
    return task


def test_requests_are_built_again_for_other_settings():
    built: list[dict] = []
    task = stub_task(built)
    for limit in (None, None, 3, 3, None):
        task.build_all_requests(limit=limit, rank=0)
    assert [settings["limit"] for settings in built] == [None, 3, None]


def test_requests_are_built_once_for_all_parts_and_never_hold_answers():
    """Arms alternate over parts: whatever one of them has answered is on its own copies."""
    built: list[dict] = []
    task = stub_task(built)
    for documents in ([3, 1], None, [2], [3, 1], [1, 3], None):
        task.build_all_requests(samples=documents, rank=0)
        asked = sorted(documents or range(4))
        assert [each.doc_id for each in task.instances] == [place for place in range(len(asked)) for _ in range(2)]
        assert all((each.resps, each.filtered_resps) == ([], {}) for each in task.instances)
        for each in task.instances:
            each.resps.append("an answer")
            each.filtered_resps["none"] = "an answer"
    assert built == [{"rank": 0}]


def test_documents_are_read_once_and_given_as_copies():
    """A checker that changes a document changes it for nobody else."""
    read: list[dict] = []
    documents = [{"number": number, "words": ["a"]} for number in range(4)]
    task = SimpleNamespace(doc_iterator=lambda **settings: read.append(settings) or enumerate(documents))
    once.read_documents_once(task)
    for chosen in (None, [3, 1], None, [2]):
        for place, document in task.doc_iterator(rank=0, samples=chosen):
            assert document == documents[sorted(chosen)[place] if chosen else place]
            document["words"].append("b")
    assert read == [{"rank": 0}]


def test_requests_hash_the_documents_that_are_scored(evaluator, embedded):
    """The JSON that is kept is that of the document itself, for every item."""
    (task,) = evaluator.tasks("tiny_arithmetic").values()
    for request, document in zip(task.instances, embedded["tiny_arithmetic"]["empty"].documents, strict=True):
        assert request.doc.json == json.dumps(document, indent=2, ensure_ascii=False)


def test_nulls_that_cannot_answer_a_task_say_so(evaluator):
    with pytest.raises(EvaluationError, match="tiny_recall_mc asks for loglikelihood, which Writer cannot give"):
        evaluator.evaluate(nulls.Writer(nulls.repeat_text), "tiny_recall_mc")
    with pytest.raises(EvaluationError, match="tiny_recall asks for generate_until, which Unigram cannot give"):
        evaluator.evaluate(nulls.Unigram(), "tiny_recall")


# Writers


def test_writers_stop_where_a_model_would():
    assert reply(nulls.repeat_text, "Ask: it ") == "Ask: it Ask: it"
    assert reply(lambda _, words: "a b c d e f") == "a b c d"
    assert reply(lambda _, words: "a b\nc", until=["\n", "b"]) == "a "
    assert reply(lambda _, words: "a b", until="b") == "a "
    assert reply(lambda _, words: "a b", until=[]) == "a b"
    long = nulls.Writer(lambda _, words: "a " * words).generate_until([request("", {"until": []})])[0]
    assert len(long.split()) == 256  # lm-eval's own default


@given(st.text(alphabet="ab \n", max_size=12), st.integers(1, 40))
def test_loops_hold_whole_texts_and_as_many_as_fit(text, words):
    loop = nulls.repeat_text(text, words)
    size = len(text.split())
    assert loop.replace(text, "") == "" if text else loop == ""
    assert len((text + " ").split()) * (loop.count(text) if text else 0) <= max(words, size) + size


# Choosers


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_guesses_fall_evenly_on_every_subset_of_choices(count):
    choices = [("c", str(index)) for index in range(count)]
    orders = [nulls.rotate_choices(turn)(n, choices) for n in range(math.factorial(count - 1)) for turn in range(count)]
    assert all(sorted(order) == list(range(count)) for order in orders)
    for size in range(1, count + 1):
        for subset in itertools.combinations(range(count), size):
            firsts = Counter(min(subset, key=order.index) for order in orders)
            assert set(firsts.values()) == {len(orders) // size}


@given(st.integers(1, 7), st.integers(0, 10**6))
def test_each_item_gives_every_choice_its_turn(count, number):
    choices = [("c", "x")] * count
    assert [nulls.rotate_choices(turn)(number, choices)[0] for turn in range(count)] == list(range(count))


def test_lengths_count_the_context():
    long_context = [request("I saw Al", " there."), request("I saw Barbara", " there.")]
    for turn in range(2):
        assert [a[0] for a in nulls.Chooser(nulls.length_preference(-1, turn)).loglikelihood(long_context)] == [
            -1e6,
            0.0,
        ]
        assert [a[0] for a in nulls.Chooser(nulls.length_preference(1, turn)).loglikelihood(long_context)] == [
            0.0,
            -1e6,
        ]


@given(st.lists(st.integers(1, 3), min_size=2, max_size=5), st.integers(0, 20))
def test_among_equally_long_answers_each_leads_as_often(lengths, number):
    choices = [("c", "x" * length) for length in lengths]
    for sign, extreme in ((1, min(lengths)), (-1, max(lengths))):
        leaders = Counter(nulls.length_preference(sign, turn)(number, choices)[0] for turn in range(len(lengths)))
        assert set(leaders) == {index for index, length in enumerate(lengths) if length == extreme}


def test_the_order_of_the_choices_changes_no_floor(tmp_path, monkeypatch):
    """Where the right answer stands in the file is nothing that a model could see."""
    rng = random.Random(0)
    drawn = [[letter * rng.randint(1, 3) for letter in "abcd"] for _ in range(300)]
    rows = [{"q": f"q{n}", "choices": texts, "answer": texts[0]} for n, texts in enumerate(drawn)]
    moved = [{**row, "choices": [*row["choices"][1:], row["choices"][0]]} for row in rows]
    found = []
    for name, each in (("first", rows), ("last", moved)):
        (tmp_path / name).mkdir()
        write_task(tmp_path / name, monkeypatch, each)
        found.append(
            {null: result.metrics["acc"].score for null, result in floors.null_results(Evaluator(), "chosen").items()}
        )
    assert found[0] == pytest.approx(found[1], abs=0.02)


def test_items_of_different_tasks_stay_apart():
    requests = [request("c", "a", task="x"), request("c", "b", task="x"), request("c", "a", task="y")]
    assert [len(choices) for choices in nulls.choices_by_item(requests)] == [2, 1]


def test_a_constant_needs_the_same_texts_everywhere():
    yes_no, no_yes = [("p", " yes"), ("p", " no")], [("q", " no"), ("q", " yes")]
    assert floors._common_answers([yes_no, no_yes]) == [" no", " yes"]
    assert floors._common_answers([yes_no, [("q", " no"), ("q", " maybe")]]) == []
    assert floors._common_answers([[("I saw Al", " go"), ("I saw Bo", " go")]]) == []


def write_task(folder, monkeypatch, rows):
    """Makes `chosen` the only embedded task: questions `q` with `choices`, of which `answer` is right."""
    (folder / "data").mkdir()
    (folder / "data" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "functions.py").write_text((evaluation.TASKS / "functions.py").read_text())
    (folder / "chosen.yaml").write_text(
        "task: chosen\ncustom_dataset: !function functions.load\ndataset_kwargs: {file: rows.jsonl}\ntest_split: test\n"
        "output_type: multiple_choice\ndoc_to_text: '{{q}}?'\ndoc_to_choice: choices\n"
        "doc_to_target: '{{choices.index(answer)}}'\nmetric_list: [{metric: acc}]\n"
    )
    monkeypatch.setattr(evaluation, "TASKS", folder)


def test_the_best_constant_answer_is_found_wherever_it_stands(tmp_path, monkeypatch):
    """Yes and no change places from item to item: what is preferred is the word, not the position."""
    rows = [
        {"q": str(n), "choices": ["yes", "no"][:: 1 if n % 2 else -1], "answer": "no" if n < 7 else "yes"}
        for n in range(10)
    ]
    write_task(tmp_path, monkeypatch, rows)
    scores = floors.task_floors("chosen")["acc"]
    assert scores == {"uniform": 0.5, "longest answer": 0.3, "shortest answer": 0.7, "majority choice": 0.7}


def test_where_all_choices_are_equally_long_length_tells_nothing(tmp_path, monkeypatch):
    """As in MMLU, whose choices are letters: the longest answer would be A, a position."""
    rows = [{"q": str(n), "choices": ["A", "B"], "answer": "AB"[n % 3 == 0]} for n in range(9)]
    write_task(tmp_path, monkeypatch, rows)
    assert floors.task_floors("chosen")["acc"] == {"uniform": 0.5, "majority choice": pytest.approx(2 / 3)}


# Unigrams


@given(st.text(alphabet="ab \n", max_size=30))
def test_words_put_together_are_the_text(text):
    assert "".join(nulls._WORD.findall(text)) == text


TEXTS = st.lists(st.text(alphabet="ab ", min_size=1, max_size=20), min_size=1, max_size=6)


@given(TEXTS, st.randoms(use_true_random=False))
def test_no_other_frequencies_give_a_higher_likelihood(texts, rng):
    words = [word for text in texts for word in nulls._WORD.findall(text)]
    ours = math.fsum(nulls.Unigram().loglikelihood_rolling([request(text) for text in texts]))
    counts = Counter(words)
    entropy = -math.fsum(n / len(words) * math.log(n / len(words)) for n in counts.values())
    assert ours == pytest.approx(-entropy * len(words), abs=1e-9)
    others = {word: rng.random() + 1e-3 for word in counts}
    total = sum(others.values())
    assert ours >= math.fsum(math.log(others[word] / total) for word in words) - 1e-9


def test_the_most_frequent_word_is_the_greedy_one():
    answers = nulls.Unigram().loglikelihood([request("c", " b"), request("c", " a"), request("c", " b")])
    assert [greedy for _, greedy in answers] == [True, False, True]
    assert answers[0][0] == pytest.approx(math.log(2 / 3))


# Figures


def test_echoes_are_no_floors():
    scores = {"echo": 0.9, "echo loop": 0.95, "word loop": 0.4, "empty": 0.1}
    assert null_names.best_floor(scores, higher_is_better=True) == ("word loop", 0.4)
    assert null_names.best_floor(scores, higher_is_better=False) == ("empty", 0.1)
    assert null_names.best_floor({"echo": 0.9}, higher_is_better=True) is None
    assert not any(map(null_names.is_floor, null_names.ECHOES))


VALUES = st.lists(st.floats(-5, 5), min_size=2, max_size=20)


def test_scoring_leaves_random_numbers_alone(evaluator):
    random.seed(5)
    expected = [random.random() for _ in range(2)]
    random.seed(5)
    first = random.random()
    evaluator.evaluate(nulls.Writer(nulls.repeat_text), "tiny_arithmetic")
    assert [first, random.random()] == expected


# Real data


@pytest.mark.slow("scores every item of a real benchmark with every null model")
@needs_data
def test_content_free_output_follows_one_ifeval_prompt_in_six(evaluator, no_sockets):
    scores = floors.task_floors("ifeval")["prompt_level_strict_acc"]
    published = {"word loop": 0.161, "echo loop": 0.303, "constant word": 0.144, "lowercase loop": 0.155}
    assert {null: round(scores[null], 3) for null in published} == published
    assert (round(scores["sentence loop"], 3), scores["empty"]) == (0.109, 0)
    # One item of 541 hangs on a letter that lm-eval draws.
    assert scores["echo"] == pytest.approx(0.250, abs=1.5 / 541)


@pytest.mark.slow("scores every item of a real benchmark with every null model")
@needs_data
def test_ifeval_scores_the_same_reply_the_same_every_time(evaluator):
    lm = nulls.Writer(lambda prompt, _words: prompt)
    results = []
    for seed in range(3):
        random.seed(seed)
        results.append(evaluator.evaluate(lm, "ifeval"))
    assert results[0] == results[1] == results[2]


@needs_data
@pytest.mark.parametrize(
    ("task", "chance"),
    [
        ("truthfulqa_mc1", 0.223),
        pytest.param("truthfulqa_mc2", 0.464, marks=pytest.mark.slow("the questions of MC1 once more")),
        pytest.param("piqa", 0.5, marks=pytest.mark.slow("scores 1838 items with every null model")),
    ],
)
def test_guessing_scores_chance_on_real_tasks(no_sockets, task, chance):
    assert round(floors.task_floors(task)["acc"]["uniform"], 3) == chance


@needs_data
def test_positions_that_a_model_cannot_see_are_no_floor(no_sockets):
    """TruthfulQA MC1's first choice is always the true one: a constant would score 1."""
    scores = floors.task_floors("truthfulqa_mc1")["acc"]
    assert set(scores) == CHOOSERS
    assert max(scores.values()) < 0.5
