"""The usual way to see what pruning does: per ratio, load, prune with OptiPFair, wrap, index tasks, evaluate."""

import gc
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from glu_prune.evaluation.metrics import LIKELIHOODS
from glu_prune.pruning.ratio import Ratio
from perf.pruning_speed import load_oracle
from perf.sweep_items import Benchmark

Result = TypeVar("Result")

_TRIAL_TOKENS = 32
_MUCH_SLOWER = 1.15


@dataclass(frozen=True)
class Answers:
    """What a model answered to the items of one task."""

    texts: tuple[str, ...]
    """What it generated; empty for likelihoods."""
    likelihoods: tuple[tuple[float, ...], ...]
    """Nats, of each choice; empty for texts."""
    marks: Mapping[str, tuple[float, ...]]
    """Metric to what each item scored, but for perplexities."""
    scores: Mapping[str, float]
    """Metric to the score of all items."""
    near_ties: tuple[bool, ...] = ()
    """Of each text, whether rounding may have decided on a token; empty where that is not known."""


@dataclass(frozen=True)
class Turn:
    """One benchmark at one ratio."""

    seconds: float
    tokens: int
    """Positions that the model computed, padding included."""
    answers: Mapping[str, Answers]
    """By task."""
    report: float = 0.0
    """Further seconds for lm-eval's description of the machine, which it adds to the results of every call."""


@contextmanager
def muted() -> Iterator[None]:
    """Keeps progress bars and chatter from the output."""
    sink = io.StringIO()
    with redirect_stdout(sink), redirect_stderr(sink):
        yield


def timed(call: Callable[[], Result]) -> tuple[Result, float]:
    """What `call` gives, quietly, and how many seconds it takes."""
    with muted():
        start = time.perf_counter()
        result = call()
        return result, time.perf_counter() - start


@contextmanager
def _stock_templates() -> Iterator[None]:
    """Lends lm-eval its own way of compiling templates, where ours has taught this process to keep them."""
    from lm_eval.utils import env

    kept = vars(env).pop("from_string", None)
    try:
        yield
    finally:
        if kept is not None:
            env.from_string = kept


@contextmanager
def _timed_report(taken: list[float]) -> Iterator[None]:
    """Notes how long lm-eval takes to describe the machine at the end of a call."""
    from lm_eval import evaluator

    stock = evaluator.add_env_info

    def report(results: Any) -> None:
        start = time.perf_counter()
        stock(results)
        taken.append(time.perf_counter() - start)

    evaluator.add_env_info = report
    try:
        yield
    finally:
        evaluator.add_env_info = stock


class UsualLoop:
    """OptiPFair and lm-eval as their documentation shows them, on task files that read local data."""

    def __init__(self, model: Path, tasks: Path, dtype: str, device: str) -> None:
        """`tasks` is a folder of `write_tasks`."""
        self._folder, self._tasks = model, tasks
        self._dtype, self._device = dtype, device
        self._model: Any = None
        self._tokenizer: Any = None
        self._manager: Any = None
        self._tokens = 0

    def load(self, ratio: Ratio) -> None:
        """Loads the checkpoint and prunes it."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(self._folder, dtype=getattr(torch, self._dtype))
        self._tokenizer = AutoTokenizer.from_pretrained(self._folder)
        if ratio:
            load_oracle(float(100 * ratio))(model)
        self.score(model.to(self._device).eval())

    def score(self, model: Any) -> None:
        """From now on, `model` answers."""
        self._model = model
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def unload(self) -> None:
        """Frees the model."""
        self._model = None
        gc.collect()

    def index(self) -> None:
        """Builds lm-eval's index of tasks."""
        from lm_eval.tasks import TaskManager

        self._manager = TaskManager(include_path=str(self._tasks))

    def run(self, benchmark: Benchmark, batch_size: int) -> Turn:
        """The loaded model on one benchmark."""
        self._tokens, reports = 0, list[float]()
        with _stock_templates(), _timed_report(reports):
            results, seconds = timed(lambda: self._evaluate(benchmark, batch_size))
        answers = {task: _answers(results, task) for task in benchmark.tasks}
        return Turn(seconds - sum(reports), self._tokens, answers, sum(reports))

    def best_batch(self, benchmark: Benchmark, candidates: Sequence[int], rows: int) -> int:
        """The batch size of `candidates`, in rising order, at which items of about `rows` sequences take the shortest.

        Larger ones are not tried where memory runs out, or time clearly grows, or one batch holds everything.
        """
        import torch

        limit = min(-(-rows // benchmark.rows), benchmark.items)
        tokens = f"max_gen_toks={_TRIAL_TOKENS}"
        with _stock_templates():
            timed(lambda: self._evaluate(benchmark, candidates[0], limit=1, gen_kwargs=tokens))
            taken: dict[int, float] = {}
            for batch_size in candidates:
                trial = partial(self._evaluate, benchmark, batch_size, limit=limit, gen_kwargs=tokens)
                try:
                    taken[batch_size] = timed(trial)[1]
                except torch.OutOfMemoryError:
                    break
                if batch_size >= limit * benchmark.rows or taken[batch_size] > _MUCH_SLOWER * min(taken.values()):
                    break
        return min(taken, key=taken.__getitem__)

    def truncated(self, benchmark: Benchmark) -> tuple[int, int]:
        """How many requests are longer than the model allows, and how many there are."""
        from lm_eval.models.huggingface import HFLM

        with muted():
            most = HFLM(pretrained=self._model, tokenizer=self._tokenizer).max_length
            lengths = []
            for task in self._manager.load(list(benchmark.tasks))["tasks"].values():
                task.set_config("num_fewshot", benchmark.num_fewshot)
                task.build_all_requests()
                for request in task.instances:
                    prompt, asked = request.args
                    room = asked["max_gen_toks"] + 1 if isinstance(asked, dict) else 0
                    text = prompt if isinstance(asked, dict) else prompt + asked
                    lengths.append(len(self._tokenizer(text)["input_ids"]) + room)
        return sum(length > most + 1 for length in lengths), len(lengths)

    def _evaluate(self, benchmark: Benchmark, batch_size: int, **options: Any) -> Any:
        return evaluate(self._model, self._tokenizer, self._manager, benchmark, batch_size, **options)

    def _count(self, module: Any, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        del module
        ids = named["input_ids"] if "input_ids" in named else inputs[0]
        self._tokens += ids.numel()


def evaluate(model: Any, tokenizer: Any, manager: Any, benchmark: Benchmark, batch_size: int, **options: Any) -> Any:
    """What lm-eval's `simple_evaluate` finds through its own `HFLM`; `manager` knows the tasks."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    return lm_eval.simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, softmax_dtype="float32"),
        tasks=list(benchmark.tasks),
        task_manager=manager,
        num_fewshot=benchmark.num_fewshot,
        bootstrap_iters=0,
        **options,
    )


def _answers(results: Mapping[str, Any], task: str) -> Answers:
    """Those in lm-eval's results."""
    samples = results["samples"][task]
    names = [name for name in samples[0]["metrics"] if name not in LIKELIHOODS]
    responses = [sample["filtered_resps"] for sample in samples]
    texts = tuple(each[0] for each in responses if isinstance(each[0], str))
    found = results["results"][task]
    return Answers(
        texts=texts,
        likelihoods=() if texts else tuple(tuple(float(_first(one)) for one in each) for each in responses),
        marks={name: tuple(_mark(sample[name]) for sample in samples) for name in names},
        scores={name: float(found[f"{name},{samples[0]['filter']}"]) for name in samples[0]["metrics"]},
    )


def _first(response: Any) -> Any:
    return response[0] if isinstance(response, list | tuple) else response


def _mark(value: Any) -> float:
    """One item's score, which may be a list of parts."""
    return sum(map(float, value)) / len(value) if isinstance(value, list) else float(value)


def write_tasks(folder: Path, data: Path, benchmarks: Sequence[Benchmark]) -> None:
    """Task files that take everything but their data from lm-eval's own, as its guide to new tasks says."""
    from lm_eval.tasks import TaskManager

    folder.mkdir()
    stock = TaskManager().task_index
    for benchmark in benchmarks:
        for task in benchmark.tasks:
            settings = {
                "include": str(stock[task].yaml_path),
                "task": task,
                "dataset_path": "json",
                "dataset_name": None,
                "dataset_kwargs": {
                    "data_files": benchmark.files(data, task),
                    "cache_dir": str(folder / "cache"),
                },
                **(benchmark.settings or {}),
            }
            (folder / f"{task}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
