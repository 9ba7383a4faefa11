"""Trains an embedded model from scratch: `python -m glu_prune.zoo.train tiny-base --out DIR`.

Writes weights in bf16, configuration, tokenizer, and `training_log.csv` (step, tokens, loss, learning rate, seconds).
The documents, their order and the initial weights follow from the seed; the last bits of the weights depend on the
machine's matrix kernels and thread count.
"""

import argparse
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

from glu_prune.zoo.packing import pack
from glu_prune.zoo.recipes import RECIPES, Recipe
from glu_prune.zoo.tokenizer import train_tokenizer
from glu_prune.zoo.world import make_world
from glu_prune.zoo.world.mixture import documents

logger = logging.getLogger(__name__)

IGNORE = -100
"""Label of a position without a target, as in `torch.nn.functional.cross_entropy`."""
ENCODE_AT_ONCE = 4096
SNAPSHOTS = 10


def learning_rate_factor(recipe: Recipe, step: int) -> float:
    """Linear warm-up, a plateau, and a linear fall to zero from `recipe.decay_from` of the steps on."""
    warmup = min(1.0, (step + 1) / recipe.warmup_steps)
    fall = (recipe.steps - step) / (recipe.steps * (1 - recipe.decay_from))
    return min(warmup, fall, 1.0)


def _encoded(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    texts = documents(make_world(), recipe.weights, f"{recipe.name}-{recipe.seed}")
    while True:
        yield from tokenizer(list(itertools.islice(texts, ENCODE_AT_ONCE)))["input_ids"]


def _batches(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Iterator[torch.Tensor]:
    """Token ids `(batch_rows, row_tokens + 1)`; `IGNORE` where a row is empty."""
    rows = pack(_encoded(recipe, tokenizer), recipe.row_tokens + 1, IGNORE, f"{recipe.name}-{recipe.seed}")
    while True:
        yield torch.tensor(list(itertools.islice(rows, recipe.batch_rows)))


def _start(recipe: Recipe, parent: Path | None) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """The model in float32 and the tokenizer to begin with."""
    torch.manual_seed(recipe.seed)
    if parent is not None:
        model = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32, attn_implementation="eager")
        return model, AutoTokenizer.from_pretrained(parent)
    shape = asdict(recipe.architecture)
    context = shape.pop("context")
    tokenizer = train_tokenizer(
        documents(make_world(), dict.fromkeys(recipe.weights, 1.0), f"tokenizer-{recipe.seed}"),
        vocab_size=recipe.architecture.vocab_size,
        context=context,
    )
    config = LlamaConfig(
        **shape,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config), tokenizer


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    model.config.dtype = torch.bfloat16
    model.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)


def train(recipe: Recipe, parent: Path | None, out: Path, device: str) -> None:
    """Follows `recipe` and writes the model to `out`; snapshots go to `out` with the suffix `.partial` on the way.

    Raises:
        FileExistsError: `out` exists.
    """
    if out.exists():
        msg = f"{out} exists; choose another folder or remove it"
        raise FileExistsError(msg)
    partial = out.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    model, tokenizer = _start(recipe, parent)
    model.to(device).train()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    gains = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": gains, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, 0.95),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(recipe, step))
    begin = time.monotonic()
    losses: list[float] = []
    with (partial / "training_log.csv").open("w", newline="") as stream:
        log = csv.writer(stream, lineterminator="\n")
        log.writerow(["step", "tokens", "loss", "learning_rate", "seconds"])
        for step, batch in enumerate(itertools.islice(_batches(recipe, tokenizer), recipe.steps), 1):
            losses.append(_step(model, optimizer, batch.to(device)))
            rate = schedule.get_last_lr()[0]
            schedule.step()
            if step % 50 == 0 or step == recipe.steps:
                tokens = step * recipe.batch_rows * recipe.row_tokens
                loss = sum(losses) / len(losses)
                losses.clear()
                log.writerow([step, tokens, f"{loss:.4f}", f"{rate:.2e}", f"{time.monotonic() - begin:.0f}"])
                stream.flush()
                logger.info("step %d/%d  loss %.4f  %.0f s", step, recipe.steps, loss, time.monotonic() - begin)
            if step % (recipe.steps // SNAPSHOTS) == 0:
                _save(model, tokenizer, partial)
    _save(model, tokenizer, partial)
    shutil.move(partial, out)


def _step(model: Any, optimizer: torch.optim.Optimizer, batch: torch.Tensor) -> float:
    """One update on `batch` `(rows, tokens + 1)`; returns the mean loss in nats per token."""
    with torch.autocast(batch.device.type, torch.bfloat16):
        logits = model(input_ids=batch[:, :-1].clamp(min=0), use_cache=False).logits
    loss = functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten(), ignore_index=IGNORE)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def main(arguments: list[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m glu_prune.zoo.train", description=__doc__)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, help="folder to write (default: ./NAME)")
    parser.add_argument("--parent", type=Path, help="folder of the parent model (default: the embedded one)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = RECIPES[options.name]
    parent = options.parent
    if recipe.parent and parent is None:
        parent = Path(__file__).parent / "models" / recipe.parent
    train(recipe, parent, options.out or Path(recipe.name), options.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
