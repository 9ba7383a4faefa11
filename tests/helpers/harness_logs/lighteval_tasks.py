"""Tasks of lighteval, of which logs are read in tests; `write.sh` runs them, in a folder that holds their data."""

from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc


def _asked(line: dict, task_name: str) -> Doc:
    return Doc(
        task_name=task_name,
        query=f"Question: {line['question']}\nAnswer:",
        choices=[f" {line['answer']}"],
        gold_index=0,
    )


def _chosen(line: dict, task_name: str) -> Doc:
    choices = [f" {each}" for each in line["choices"]]
    return Doc(
        task_name=task_name, query=f"Question: {line['paraphrase']}\nAnswer:", choices=choices, gold_index=line["gold"]
    )


def _task(name: str, asked, metrics: list) -> LightevalTaskConfig:
    return LightevalTaskConfig(
        name=name, prompt_function=asked, hf_repo="data", hf_subset="default", hf_avail_splits=["train"],
        evaluation_splits=["train"], metrics=metrics, generation_size=8, stop_sequence=["\n"],
    )  # fmt: skip


TASKS_TABLE = [
    _task("recalls", _asked, [Metrics.exact_match, Metrics.f1_score, Metrics.bleu]),
    _task("choices", _chosen, [Metrics.loglikelihood_acc, Metrics.mrr]),
]
