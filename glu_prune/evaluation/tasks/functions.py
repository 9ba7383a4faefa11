"""Functions that the embedded tasks' YAML files refer to; lm-eval imports this file by its path."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

_HERE = Path(__file__).parent


def load(file: str, **_: object) -> dict[str, Any]:
    """The items of `file` as the split `test`, in memory: no cache folder, no network."""
    from datasets import Dataset

    lines = (_HERE / "data" / file).read_text().splitlines()
    return {"test": Dataset.from_list([json.loads(line) for line in lines])}


def true_choices(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """MC1 and MC2 as TruthfulQA defines them, from the log-likelihood of each choice.

    MC1: the first of the choices that `mc1` lists, the only true one, is the likeliest of them. MC2: the share of
    the probability of all choices that falls on the true ones.

    Source: arXiv:2109.07958, section 3.
    """
    logprobs = np.array([logprob for logprob, _ in results])
    shares = np.exp(logprobs - logprobs.max())
    return {
        "mc1": float(logprobs[doc["mc1"]].argmax() == 0),
        "mc2": float(shares[np.array(doc["labels"]) == 1].sum() / shares.sum()),
    }


def text_likelihood(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, tuple[float, int]]:
    """The log-likelihood of a text, paired with its number of words or bytes, as lm-eval's perplexities take it."""
    ((loglikelihood, _),) = results
    words, size = len(doc["text"].split()), len(doc["text"].encode())
    return {
        "word_perplexity": (loglikelihood, words),
        "byte_perplexity": (loglikelihood, size),
        "bits_per_byte": (loglikelihood, size),
    }


def paragraphs(texts: Any) -> Any:
    """The paragraphs of a data set of texts, as a data set of their own."""
    found = (paragraph.strip() for doc in texts for paragraph in doc["text"].split("\n\n"))
    return texts.from_list([{"text": paragraph} for paragraph in found if paragraph])


@contextmanager
def no_nltk_download() -> Iterator[None]:
    """Lets lm-eval's IFEval modules be imported without the download that they try on import."""
    import nltk

    download, nltk.download = nltk.download, lambda *_, **__: False
    try:
        yield
    finally:
        nltk.download = download


def checkers() -> Any:
    """lm-eval's IFEval module, imported without a download.

    No embedded constraint needs the sentence splitter that it would fetch. The language detector is seeded: unseeded,
    it may answer differently for the same text.
    """
    import langdetect

    langdetect.DetectorFactory.seed = 0
    with no_nltk_download():
        from lm_eval.tasks.ifeval import utils
    return utils


def follow_instructions(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """IFEval's four metrics for one reply, by lm-eval's own checkers."""
    metrics: dict[str, Any] = checkers().process_results(doc, results)
    return metrics


def mean_of_all(per_document: list[list[bool]]) -> float:
    """The share of obeyed constraints over all documents."""
    return float(np.mean([obeyed for document in per_document for obeyed in document]))
