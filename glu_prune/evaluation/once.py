"""What lm-eval does anew for every model with the same outcome, done once.

Documents, requests and templates of a task do not depend on the model; for a small one they take longer than answers.
"""

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any


class _Document(dict[str, Any]):
    """A document that requests share, with its JSON once that was made."""

    json: str | None = None


def work_once() -> None:
    """Has lm-eval keep compiled templates, the JSON of documents that it hashes, and the languages of texts."""
    import langdetect
    from lm_eval import evaluator
    from lm_eval.utils import env

    if not hasattr(env.from_string, "cache_info"):
        env.from_string = lru_cache(maxsize=1024)(env.from_string)
        evaluator.json = SimpleNamespace(dumps=_json)
        # The detector draws at random, from a generator of its own that is seeded for every text.
        langdetect.detect = lru_cache(maxsize=1024)(langdetect.detect)


def _json(value: object, **settings: Any) -> str:
    """As `json.dumps`, which indents in Python; of documents, all for one purpose, what it gave the first time."""
    if not isinstance(value, _Document):
        return json.dumps(value, **settings)
    if value.json is None:
        value.json = json.dumps(value, **settings)
    return value.json


def read_documents_once(task: Any) -> None:
    """Has `task` read its documents from Arrow once for all models."""
    # Kept pickled, which is read far faster than Arrow: every model gets copies that a task's checkers may change.
    read = task.doc_iterator
    kept: list[bytes] = []
    kept_for: dict[str, Any] = {}

    def reuse(*, samples: Sequence[int] | None = None, **settings: Any) -> Iterator[tuple[int, Any]]:
        if settings != kept_for or not kept:
            kept[:] = [pickle.dumps(document) for _, document in read(**settings)]
            kept_for.clear()
            kept_for.update(settings)
        chosen = [kept[index] for index in sorted(set(samples))] if samples else kept
        return enumerate(map(pickle.loads, chosen))

    task.doc_iterator = reuse


def build_requests_once(task: Any) -> None:
    """Has `task` build its requests once for all models: building takes longer than a fast model takes to answer."""
    # All documents are built even if a subset is asked for: worked examples may be drawn at random one document after
    # the other, and must be the same in any subset. Callers get copies, because lm-eval appends a model's answers to
    # the requests themselves: shared ones would have the first model's answers scored for all others.
    build = task.build_all_requests
    built: list[Any] = []
    built_for: dict[str, Any] = {}

    def reuse(*, samples: Sequence[int] | None = None, **settings: Any) -> None:
        # The chat template is a bound method and differs from model to model; the tokenizer's name identifies it.
        identity = {name: value for name, value in settings.items() if name != "chat_template"}
        if identity != built_for:
            build(**settings)
            built_for.clear()
            built_for.update(identity)
            _share_documents(task.instances)
            built[:] = task.instances
        task.instances[:] = _fresh(built, samples)

    task.build_all_requests = reuse


def _share_documents(requests: Sequence[Any]) -> None:
    """Has requests of one document hold it in the form that keeps its JSON."""
    shared: dict[int, tuple[_Document, object]] = {}
    for request in requests:
        if isinstance(given := request.doc, Mapping):
            request.doc, _ = shared.setdefault(id(given), (_Document(given), given))


def _fresh(requests: Sequence[Any], documents: Sequence[int] | None) -> Iterator[Any]:
    """Copies of `requests` without answers; those of some documents are renumbered from 0, as lm-eval does."""
    places = None if documents is None else {document: place for place, document in enumerate(sorted(documents))}
    for request in requests:
        if places is None or request.doc_id in places:
            # Not by `copy`, which takes ten times as long.
            kind: Any = type(request)
            fresh = kind.__new__(kind)
            vars(fresh).update(vars(request), resps=[], filtered_resps={})
            fresh.doc_id = fresh.doc_id if places is None else places[fresh.doc_id]
            yield fresh
