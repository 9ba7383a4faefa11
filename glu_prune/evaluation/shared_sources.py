"""Items that are not independent: the same text again, twins of few other words, or questions about one text.

Found in the documents themselves, for any task. What a data set does not say cannot be found: two segments of one video
that share no words are taken for independent, unless a field names the video.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Document = Mapping[str, Any]
Place = tuple[str, int]
"""A task's name, and the place of a document in it."""
Edges = NDArray[np.int64]
"""(pairs, 2): documents that share a source."""

NAMES_A_SOURCE = ("source_id", "section_id", "passage_id", "article_id", "story_id", "video_id")
"""Fields by which data sets say where an item is from: HellaSwag its video, DROP its section."""
_LONG = 100
"""Characters from which a field that two documents have in common is a text that both are about."""
_TOGETHER = 3
"""Words that are compared as one."""
_RARE = 10
"""Words that stand together in more documents than these belong to how questions are put."""
_LEAST, _ALIKE = 5, 0.4
"""How many of them two documents must share, and which part of the shorter one's."""
_LONGEST = 5000
"""Words of a document that are compared."""
_WORD = re.compile(r"\w+")


def shared_sources(tasks: Mapping[str, Sequence[Document]]) -> dict[Place, str]:
    """The name of the source of each document, the same for those that share one; empty where no two do.

    Documents share a source where they have the same words, the same long text in some field, the same value in a field
    that names one, or at least two fifths of their runs of three words, rare ones alone: runs that more than ten
    documents have are a matter of form.

    Source: Broder (1997), On the resemblance and containment of documents (runs of words, containment).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    places = [(task, place) for task in sorted(tasks) for place in range(len(tasks[task]))]
    documents = [tasks[task][place] for task, place in places]
    edges = np.concatenate([_same(documents), _alike(documents)])
    if not len(edges):
        return {}
    links = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(places), len(places)))
    _, found = connected_components(links, directed=False)
    return dict(zip(places, map(str, found.tolist()), strict=True))


def _same(documents: Sequence[Document]) -> Edges:
    """Each document with the first that has the same words, the same long text, or the same named source."""
    marked: dict[tuple[str, str], list[int]] = {}
    for number, document in enumerate(documents):
        for mark in _marks(document):
            marked.setdefault(mark, []).append(number)
    # What more than half of all documents say in a field is an instruction, not a source.
    found = [
        (numbers[0], other)
        for (name, _), numbers in marked.items()
        if not name or 2 * len(numbers) <= len(documents)
        for other in numbers[1:]
    ]
    return np.array(found, np.int64).reshape(-1, 2)


def _marks(document: Document) -> Iterator[tuple[str, str]]:
    """What says where a document is from: (field, value), and its words under no field."""
    if words := _WORD.findall(_text(document)):
        yield "", " ".join(words)
    for name, value in document.items():
        if name in NAMES_A_SOURCE or (isinstance(value, str) and len(value) >= _LONG):
            yield name, str(value)


def _text(value: object) -> str:
    """All text in a document, in the order of its fields."""
    if isinstance(value, str):
        return value.casefold()
    if isinstance(value, Mapping):
        return " ".join(_text(each) for name, each in value.items() if name not in NAMES_A_SOURCE)
    return " ".join(map(_text, value)) if isinstance(value, list | tuple) else ""


def _alike(documents: Sequence[Document]) -> Edges:
    """Pairs that share enough of their runs of words."""
    ids: dict[str, int] = {}
    runs = [_runs([ids.setdefault(word, len(ids)) for word in _WORD.findall(_text(each))]) for each in documents]
    sizes = np.array([len(each) for each in runs], np.int64)
    order = np.lexsort((np.repeat(np.arange(len(runs)), sizes), np.concatenate([*runs, np.empty(0, np.int64)])))
    run = np.concatenate([*runs, np.empty(0, np.int64)])[order]
    document = np.repeat(np.arange(len(runs)), sizes)[order]
    _, place, times = np.unique(run, return_inverse=True, return_counts=True)
    rare = times[place] <= _RARE
    run, document = run[rare], document[rare]
    pairs = [
        document[:-step][same] * len(documents) + document[step:][same]
        for step in range(1, min(_RARE, len(run)))
        if (same := run[:-step] == run[step:]).any()
    ]
    found, shared = np.unique(np.concatenate([*pairs, np.empty(0, np.int64)]), return_counts=True)
    edges = np.stack(np.divmod(found, len(documents)), axis=1)
    enough = (shared >= _LEAST) & (shared >= _ALIKE * sizes[edges].min(axis=1))
    kept: Edges = edges[enough]
    return kept


def _runs(words: Sequence[int]) -> NDArray[np.int64]:
    """Each run of words in a document once, as one number."""
    several = np.array(words[:_LONGEST], np.int64)
    if len(several) < _TOGETHER:
        return np.empty(0, np.int64)
    # Vocabularies have fewer words than 2 ** 21, of which three fit into a number.
    first, second, third = (several[step : len(several) - _TOGETHER + 1 + step] for step in range(_TOGETHER))
    return np.unique((first << 42) + (second << 21) + third)
