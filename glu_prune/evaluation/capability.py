"""Capabilities: name, lm-eval task and metric, direction, and chance level.

A suite maps capability names to declarations; an expectation file chooses one suite. Nothing else in this package
knows a metric by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glu_prune.evaluation.metrics import LIKELIHOODS


@dataclass(frozen=True)
class Capability:
    """One thing a model can do."""

    name: str
    task: str
    """The lm-eval task, or group of tasks, that measures it."""
    metric: str
    """The metric's key in lm-eval's results, without the filter."""
    measures: str
    higher_is_better: bool = True
    chance: float | None = None
    """The score of guessing; None where the score has no such point."""
    num_fewshot: int | None = None
    """Worked examples in the prompt; None leaves the task's own number."""
    groups: tuple[str, ...] = ()
    """Document fields by which scores are broken down."""
    cluster: str | None = None
    """The document field that names the source which items share, where they are not independent."""
    source: str = ""
    folder: Path | None = None
    """The folder of tasks that declares the task; None if it is one of ours or of lm-eval's."""

    @property
    def logarithmic(self) -> bool:
        """Whether the score is a perplexity or bits per byte: items are log-likelihoods, differences log ratios."""
        return self.metric in LIKELIHOODS

    @property
    def share(self) -> bool:
        """Whether the score is a share of right answers."""
        return self.higher_is_better and not self.logarithmic

    def unit(self, *, shared: bool) -> str:
        """What is independent, in the plural: what is declared, else items, or the sources that they share."""
        return f"{self.cluster}s" if self.cluster else "sources" if shared else "items"

    @property
    def fields(self) -> tuple[str, ...]:
        """Document fields that a record must keep."""
        return tuple(dict.fromkeys((*self.groups, *([self.cluster] if self.cluster else []))))


_IFEVAL = "arXiv:2311.07911"
_TRUTHFULQA = "arXiv:2109.07958"

_INSTRUCTIONS = ("constraints", "instruction_id_list")

EMBEDDED = (
    Capability(
        "factual_recall",
        "tiny_recall",
        "exact_match",
        "facts about people, generated word for word",
        chance=0.0,
        groups=("band",),
    ),
    Capability(
        "factual_knowledge",
        "tiny_recall_mc",
        "acc",
        "the same facts in words never trained on, chosen among four answers by likelihood",
        chance=0.25,
        groups=("band",),
        source="arXiv:2009.03300 (the form of MMLU with answers as text)",
    ),
    Capability(
        "instruction_following",
        "tiny_instructions",
        "prompt_level_strict_acc",
        "requests of which every constraint is obeyed",
        chance=0.0,
        groups=_INSTRUCTIONS,
        source=_IFEVAL,
    ),
    Capability(
        "instruction_constraints",
        "tiny_instructions",
        "inst_level_loose_acc",
        "single constraints obeyed, small slips of format forgiven",
        chance=0.0,
        groups=_INSTRUCTIONS,
        source=_IFEVAL,
    ),
    Capability(
        "truthfulness",
        "tiny_truthfulness",
        "mc1",
        "the true answer preferred to common misconceptions",
        chance=0.25,
        groups=("aspect",),
        source=_TRUTHFULQA,
    ),
    Capability(
        "truthfulness_mc2",
        "tiny_truthfulness",
        "mc2",
        "share of probability on true answers",
        chance=1 / 3,
        groups=("aspect",),
        source=_TRUTHFULQA,
    ),
    Capability(
        "arithmetic",
        "tiny_arithmetic",
        "exact_match",
        "sums, differences and products never seen in training",
        chance=0.0,
        groups=("operation",),
    ),
    Capability(
        "reading",
        "tiny_reading",
        "exact_match",
        "answers that stand in a passage",
        chance=0.0,
        groups=("kind",),
    ),
    Capability(
        "story_modelling",
        "tiny_stories",
        "bits_per_byte",
        "unseen stories, in bits per byte",
        higher_is_better=False,
    ),
)

STUDY = (
    Capability(
        "instruction_following",
        "ifeval",
        "prompt_level_strict_acc",
        "IFEval prompts of which every constraint is obeyed",
        chance=0.0,
        num_fewshot=0,
        groups=("instruction_id_list",),
        source=_IFEVAL,
    ),
    Capability(
        "instruction_constraints",
        "ifeval",
        "inst_level_strict_acc",
        "IFEval constraints obeyed",
        chance=0.0,
        num_fewshot=0,
        groups=("instruction_id_list",),
        source=_IFEVAL,
    ),
    Capability(
        "factual_knowledge",
        "mmlu",
        "acc",
        "MMLU, 57 subjects",
        chance=0.25,
        num_fewshot=5,
        groups=("subject",),
        cluster="subject",
        source="arXiv:2009.03300",
    ),
    Capability(
        "arithmetic",
        "gsm8k",
        "exact_match",
        "GSM8K word problems",
        chance=0.0,
        num_fewshot=5,
        source="arXiv:2110.14168",
    ),
    Capability(
        "truthfulness",
        "truthfulqa_mc1",
        "acc",
        "TruthfulQA, the true answer preferred",
        num_fewshot=0,
        source=_TRUTHFULQA,
    ),
    Capability(
        "truthfulness_mc2",
        "truthfulqa_mc2",
        "acc",
        "TruthfulQA, share of probability on true answers",
        num_fewshot=0,
        source=_TRUTHFULQA,
    ),
    Capability(
        "multistep_reasoning",
        "leaderboard_musr",
        "acc_norm",
        "MuSR: murder mysteries, object placements, team allocation",
        num_fewshot=0,
        source="arXiv:2310.16049",
    ),
    Capability(
        "science_questions",
        "arc_challenge",
        "acc_norm",
        "ARC-Challenge, grade-school science",
        chance=0.25,
        num_fewshot=0,
        source="arXiv:1803.05457",
    ),
    Capability(
        "commonsense",
        "hellaswag",
        "acc_norm",
        "HellaSwag sentence completion",
        chance=0.25,
        num_fewshot=0,
        source="arXiv:1905.07830",
    ),
    Capability(
        "pronoun_resolution",
        "winogrande",
        "acc",
        "WinoGrande",
        chance=0.5,
        num_fewshot=0,
        source="arXiv:1907.10641",
    ),
    Capability(
        "physical_commonsense",
        "piqa",
        "acc",
        "PIQA, how things are done",
        chance=0.5,
        num_fewshot=0,
        source="arXiv:1911.11641",
    ),
    Capability(
        "reading",
        "boolq",
        "acc",
        "BoolQ, yes or no from a passage",
        chance=0.5,
        num_fewshot=0,
        source="arXiv:1905.10044",
    ),
    Capability(
        "last_word",
        "lambada_openai",
        "perplexity",
        "LAMBADA, perplexity of the last word of a passage",
        higher_is_better=False,
        num_fewshot=0,
        source="arXiv:1606.06031",
    ),
    Capability(
        "text_modelling",
        "wikitext",
        "word_perplexity",
        "WikiText-2, perplexity per word",
        higher_is_better=False,
        num_fewshot=0,
        source="arXiv:1609.07843",
    ),
)

_OF_INSTRUCT = frozenset(
    ("ifeval", "mmlu", "gsm8k", "truthfulqa_mc1", "truthfulqa_mc2", "leaderboard_musr", "lambada_openai")
)
STUDY_INSTRUCT = tuple(capability for capability in STUDY if capability.task in _OF_INSTRUCT)
"""What the study measured of its instruct model: 7 of its 13 benchmarks."""

STORIES = (
    *STUDY,
    Capability(
        "story_modelling",
        "tinystories",
        "bits_per_byte",
        "paragraphs of TinyStories, in bits per byte",
        higher_is_better=False,
        num_fewshot=0,
        source="arXiv:2305.07759",
    ),
)
"""The study's benchmarks, and what models that were trained on TinyStories can do."""

SCORED_TOGETHER = (("truthfulqa_mc1", "truthfulqa_mc2"),)
"""Tasks with the same questions and mostly the same answers: scored in one call, what they share is computed once. Each
task is in one group at most."""


def scored_together(task: str) -> tuple[str, ...]:
    """The tasks that are scored in one call with `task`, itself among them, in the same order for each of them."""
    return next((tasks for tasks in SCORED_TOGETHER if task in tasks), (task,))


SUITES: Mapping[str, Mapping[str, Capability]] = {
    name: {capability.name: capability for capability in suite}
    for name, suite in {
        "embedded": EMBEDDED,
        "study": STUDY,
        "study-instruct": STUDY_INSTRUCT,
        "stories": STORIES,
    }.items()
}
