"""The chat template of a model without the model: for null models, and for checks before a run."""

from collections.abc import Sequence
from typing import Any

from lm_eval.models.huggingface import HFLM

from glu_prune.errors import EvaluationError
from glu_prune.models.source import ModelSource, load_tokenizer


class ChatTemplate:
    """Puts prompts into the form that a model was trained to answer, as lm-eval's `HFLM` does."""

    def __init__(self, source: ModelSource) -> None:
        """The template of the tokenizer of `source`.

        Raises:
            EvaluationError: it has none.
            CheckpointError: the tokenizer cannot be loaded.
        """
        self.tokenizer = load_tokenizer(source)
        if getattr(self.tokenizer, "chat_template", None) is None:
            msg = f"the tokenizer of {source.name} has no chat template; ask without one (`chat_template: false`)"
            raise EvaluationError(msg)
        self.chat_template_args: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """As `HFLM` names it."""
        return HFLM.tokenizer_name.fget(self)  # type: ignore[no-any-return]

    def apply(self, history: Sequence[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The turns of a conversation as one prompt."""
        prompt: str = HFLM.apply_chat_template(self, list(history), add_generation_prompt)
        return prompt
