"""The judged models, what transformers loads, and the prompts."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import glu_prune
from glu_prune.errors import EvaluationError
from glu_prune.evaluation import local_data
from glu_prune.models.source import load_model, load_tokenizer, locate
from glu_prune.pruning.checkpoint import PLAN_FILE
from glu_prune.pruning.plan import PruningPlan
from tools.serving.answers import Answers, Floats, answers


class Transformers:
    """A model of transformers, with its cache."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        self._cache: Any = None

    def encode(self, _: str) -> None:
        """As `Served` says: it is given token ids."""

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> Floats:
        """As `Served` says."""
        self._cache = None
        return self._asked(ids)

    def go_on(self, token: int) -> Floats:
        """As `Served` says."""
        last: Floats = self._asked([token])[-1]
        return last

    @torch.inference_mode()
    def _asked(self, ids: Sequence[int]) -> Floats:
        found = self.model(input_ids=torch.tensor([list(ids)]), past_key_values=self._cache, use_cache=True)
        self._cache = found.past_key_values
        logits: Floats = found.logits[0].float().numpy()
        return logits


def converted(folder: Path, name: str, work: Path) -> dict[str, Path]:  # noqa: ARG001 - as of other engines
    """The folder as it is: stock checkpoints are what transformers loads."""
    return {"float32": folder}


def loaded(form: str, folder: Path) -> Transformers:
    """What `AutoModelForCausalLM` makes of a folder, without code of this project."""
    from transformers import AutoModelForCausalLM

    return Transformers(AutoModelForCausalLM.from_pretrained(folder, dtype=form))


def prompts(dense: str, count: int, longest: int) -> dict[str, list[int]]:
    """The first IFEval prompts, each with its token ids, of which at most the first `longest`.

    Raises:
        EvaluationError: no folder of benchmark data has them.
    """
    texts = local_data.texts("ifeval", "prompt")
    if texts is None:
        msg = "IFEval's prompts are not here; name a folder of benchmark data with GLU_PRUNE_DATA"
        raise EvaluationError(msg)
    tokenizer = load_tokenizer(locate(dense))
    return {text: tokenizer(text)["input_ids"][:longest] for text in texts[:count]}


def judged(dense: str, folder: Path | None, texts: Sequence[Sequence[int]], work: Path) -> Answers:
    """What the model says that glu-prune judges: the dense one in memory, cut by the plan in `folder`, in float32.

    Answers are kept in `work` for the next engine, under the content of what was asked.
    """
    source, plan = locate(dense), None if folder is None else PruningPlan.read(folder / PLAN_FILE)
    asked = json.dumps([source.fingerprint, plan and plan.fingerprint, [list(ids) for ids in texts]])
    file = work / f"judged-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.npz"
    if file.exists():
        with np.load(file) as kept:
            return Answers(kept["logprobs"], kept["first"], kept["texts"])
    model = load_model(source, "auto", "cpu")  # as it is stored: a plan knows its weights by their bits
    if plan is not None:
        glu_prune.apply(model, plan)
    found = answers(Transformers(model.float()), texts)
    np.savez(file, logprobs=found.logprobs, first=found.first, texts=found.texts)
    return found
