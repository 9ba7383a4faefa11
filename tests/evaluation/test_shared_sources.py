"""Documents that are not independent."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.evaluation import local_data
from glu_prune.evaluation.shared_sources import shared_sources
from glu_prune.evaluation.subset import SHARED, Subset

needs_data = pytest.mark.skipif(
    not os.environ.get(local_data.VARIABLE), reason=f"{local_data.VARIABLE} names no folder of benchmark data"
)
TALE = "the old keeper of the lighthouse counted seven grey ships beyond the reef and wrote their names into a book"


def alone(*texts, **fields):
    return {"t": [{"question": text, **fields} for text in texts]}


def units(tasks):
    """How many documents each source has, largest first."""
    return sorted(Counter(shared_sources(tasks).values()).values(), reverse=True)


def test_the_same_words_are_one_source_however_often_they_come():
    questions = [f"where does number {number} of the {word} live" for number, word in enumerate("abcdef")]
    assert units(alone(*questions)) == []
    assert units(alone(*questions * 3)) == [3] * 6
    assert units(alone(*questions[:1] * 40, questions[1])) == [40, 1]


def test_twins_of_few_other_words_are_one_source():
    assert units(alone(f"{TALE} because _ was old", f"{TALE} because _ was new", "why is the sky so blue today")) == [
        2,
        1,
    ]


def test_a_way_to_ask_is_no_source():
    names = [f"{first}{second}" for first in "bdfgk" for second in ("an", "el", "ip", "os")]
    form = "please read the following question with great care and then say in one word where {} lives"
    assert units(alone(*(form.format(name) for name in names))) == []


def test_a_long_text_in_one_field_is_a_source_unless_most_have_it():
    passages = [f"{word} " * 40 for word in ("alpha", "beta")]
    questions = [f"what about {number} then" for number in range(30)]
    tasks = {"t": [{"passage": passages[number % 3 == 0], "question": each} for number, each in enumerate(questions)]}
    assert units(tasks)[0] == 10, "20 of 30 share the other, which is then no source but an instruction"
    assert units({"t": [{"prompt": "x" * 200, "question": each} for each in questions]}) == []


def test_a_field_that_names_the_source_is_believed():
    videos = [{"ctx": f"segment {number}", "source_id": f"video {number // 2}"} for number in range(6)]
    assert units({"t": videos}) == [2, 2, 2]


@given(st.lists(st.text("ab c", max_size=12), max_size=8), st.randoms())
def test_the_order_of_documents_changes_no_source(texts, chance):
    def groups(order):
        found = shared_sources(alone(*(texts[place] for place in order)))
        named = {}
        for (_, place), name in found.items():
            named.setdefault(name, set()).add(order[place])
        return {frozenset(each) for each in named.values() if len(each) > 1}

    order = list(range(len(texts)))
    chance.shuffle(order)
    assert groups(order) == groups(sorted(order))


def test_sources_stay_together_in_subsets():
    tasks = alone(*[f"question {number} of a kind" for number in range(20)] * 2)
    sources = shared_sources(tasks)
    taken = [Subset(start, start + 5, SHARED).documents(tasks, sources)["t"] for start in range(0, 20, 5)]
    assert [len(each) for each in taken] == [10] * 4
    assert all({place % 20 for place in each} == {place % 20 for place in each[:5]} for each in taken)
    assert len(Subset(0, 5, SHARED).documents(tasks)["t"]) == 5, "where no source is shared, documents are units"


@needs_data
@pytest.mark.parametrize(
    ("file", "documents", "sources"),
    [
        ("winogrande/validation.jsonl", 1267, 983),
        ("hellaswag/hellaswag_1000_official_schema.jsonl", 1000, 704),
        ("truthfulqa/validation.jsonl", 817, 758),
        ("wikitext2/test_document_level.jsonl", 62, 62),
    ],
)
def test_real_benchmarks_have_so_many_sources(file, documents, sources):
    path = Path(os.environ[local_data.VARIABLE]) / file
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(found) == documents
    assert len(units({"t": found}) or found) == sources
