"""Trains an embedded model from scratch: `python -m tools.miniature.train tiny-base --out DIR`.

Writes weights in bf16, configuration, tokenizer, and `training_log.csv` (step, tokens, loss, learning rate, seconds).
The documents, their order and the initial weights follow from the seed; the last bits of the weights depend on the
machine's matrix kernels and thread count.
"""

import argparse
import copy
import csv
import itertools
import logging
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from glu_prune.models.source import MODELS
from tools.miniature.packing import pack
from tools.miniature.recipes import RECIPES, Recipe, Stage
from tools.miniature.tokenizer import train_tokenizer
from tools.miniature.world import make_world
from tools.miniature.world.mixture import documents

logger = logging.getLogger(__name__)

IGNORE = -100
"""Label of a position without a target, as in `torch.nn.functional.cross_entropy`."""
ENCODE_AT_ONCE = 4096
LOG = "training_log.csv"
LOG_EVERY = 50
SNAPSHOT_EVERY = 650


def learning_rate_factor(stage: Stage, step: int) -> float:
    """Linear warm-up, a plateau, and a linear fall to zero from `stage.decay_from` of the steps on."""
    warmup = min(1.0, (step + 1) / stage.warmup_steps)
    falling = stage.steps * (1 - stage.decay_from)
    return min(warmup, (stage.steps - step) / falling if falling else 1.0, 1.0)


def _encoded(stage: Stage, seed: str, tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    texts = documents(make_world(), stage.weights, seed)
    while True:
        yield from tokenizer(list(itertools.islice(texts, ENCODE_AT_ONCE)))["input_ids"]


def _batches(recipe: Recipe, index: int, tokenizer: PreTrainedTokenizerBase) -> Iterator[torch.Tensor]:
    """Token ids `(batch_rows, row_tokens + 1)` of stage `index`; `IGNORE` where a row is empty."""
    seed = f"{recipe.name}-{recipe.seed + index}"
    rows = pack(_encoded(recipe.stages[index], seed, tokenizer), recipe.row_tokens + 1, IGNORE, seed)
    while True:
        yield torch.tensor(list(itertools.islice(rows, recipe.batch_rows)))


def _create(recipe: Recipe, folder: Path) -> None:
    """Writes a model with random weights, and a tokenizer trained on all subjects alike, to `folder`."""
    torch.manual_seed(recipe.seed)
    shape = asdict(recipe.architecture)
    context = shape.pop("context")
    subjects = dict.fromkeys(recipe.stages[0].weights, 1.0)
    tokenizer = train_tokenizer(
        documents(make_world(), subjects, f"tokenizer-{recipe.seed}"), recipe.architecture.vocab_size, context
    )
    config = LlamaConfig(
        **shape,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    _save(LlamaForCausalLM(config), tokenizer, folder)


def _load(folder: Path, device: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """The model in `folder`, in float32 and ready to be trained, and its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.to(device).train(), AutoTokenizer.from_pretrained(folder)


def _save(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the weights in bf16, the configuration, and the tokenizer."""
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def train(recipe: Recipe, parent: Path | None, out: Path, device: str) -> None:
    """Follows `recipe` and writes the model to the new folder `out`.

    Every stage begins with the checkpoint of the one before, as saved. Until the end, the files are in a folder called
    like `out` with the suffix `.partial`, where snapshots appear on the way.

    Raises:
        FileExistsError: `out` exists.
    """
    if out.exists():
        msg = f"{out} exists; choose another folder or remove it"
        raise FileExistsError(msg)
    partial = out.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    if parent is None:
        _create(recipe, partial)
    else:
        _save(*_load(parent, "cpu"), partial)
    with (partial / LOG).open("w", newline="") as stream:
        log = csv.writer(stream, lineterminator="\n")
        log.writerow(["step", "tokens", "loss", "learning_rate", "seconds"])
        for index in range(len(recipe.stages)):
            for row in _run_stage(recipe, index, partial, device):
                log.writerow(row)
                stream.flush()
                logger.info("step %s of %d  loss %s  %s s", row[0], recipe.steps, row[2], row[4])
    shutil.move(partial, out)


def _run_stage(recipe: Recipe, index: int, folder: Path, device: str) -> Iterator[tuple[int, int, str, str, str]]:
    """Trains the model in `folder` through one stage, saving it there; yields rows of the log.

    The loss of a row is the mean in nats per token since the row before; seconds count from the start of the stage.
    """
    stage = recipe.stages[index]
    model, tokenizer = _load(folder, device)
    optimizer = _optimizer(model, stage, recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(stage, step))
    before = sum(earlier.steps for earlier in recipe.stages[:index])
    begin = time.monotonic()
    losses: list[float] = []
    for step, batch in enumerate(itertools.islice(_batches(recipe, index, tokenizer), stage.steps), 1):
        losses.append(_step(model, optimizer, batch.to(device)))
        rate = schedule.get_last_lr()[0]
        schedule.step()
        if step % SNAPSHOT_EVERY == 0 or step == stage.steps:
            _save(model, tokenizer, folder)
        if step % LOG_EVERY == 0 or step == stage.steps:
            total, loss = before + step, sum(losses) / len(losses)
            losses.clear()
            tokens = total * recipe.batch_rows * recipe.row_tokens
            yield total, tokens, f"{loss:.4f}", f"{rate:.2e}", f"{time.monotonic() - begin:.0f}"


def _optimizer(model: Any, stage: Stage, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW; gains of the norms do not decay."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    gains = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": gains, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=stage.learning_rate, betas=(0.9, 0.95))


def _step(model: Any, optimizer: torch.optim.Optimizer, batch: torch.Tensor) -> float:
    """One update on `batch` `(rows, tokens + 1)`; returns the mean loss in nats per token."""
    with torch.autocast(batch.device.type, torch.bfloat16):
        logits = model(input_ids=batch[:, :-1].clamp(min=0), use_cache=False).logits
    loss = functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten(), ignore_index=IGNORE)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def main(arguments: list[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tools.miniature.train", description=__doc__)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, help="folder to write (default: ./NAME)")
    parser.add_argument("--parent", type=Path, help="folder of the parent model (default: the embedded one)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = RECIPES[options.name]
    parent = options.parent
    if recipe.parent and parent is None:
        parent = MODELS / recipe.parent
    train(recipe, parent, options.out or Path(recipe.name), options.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
