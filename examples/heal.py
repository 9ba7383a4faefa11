"""Heals a pruned model: it learns to predict what the dense one predicts, on text that is given or that this writes.

    python examples/heal.py PRUNED --teacher DENSE --out HEALED [--text FILE] [--steps 400]

The loss is KL(teacher || student) over all next tokens. A hundred lines to start from, not a framework; judge the
result as any other checkpoint: `glu-prune judge HEALED --against DENSE`.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional
from transformers import AutoTokenizer

import glu_prune

LENGTH = 128
"""Tokens of a training text."""


def written(teacher: torch.nn.Module, begin: int, count: int) -> torch.Tensor:
    """Texts `(count, LENGTH)` that the teacher writes by drawing each token from what it predicts."""
    rows, cache = torch.full((count, 1), begin), None
    with torch.inference_mode():
        for _ in range(LENGTH - 1):
            found = teacher(rows[:, -1:], past_key_values=cache, use_cache=True)
            cache = found.past_key_values
            drawn = torch.multinomial(found.logits[:, -1].softmax(-1), 1)
            rows = torch.cat((rows, drawn), 1)
    return rows.clone()


def given(tokenizer: object, file: Path) -> torch.Tensor:
    """Texts `(count, LENGTH)` of a file, one after the other."""
    tokens = tokenizer(file.read_text(encoding="utf-8"))["input_ids"]
    count = len(tokens) // LENGTH
    if not count:
        sys.exit(f"{file} has {len(tokens)} tokens; at least {LENGTH} are needed")
    return torch.tensor(tokens[: count * LENGTH]).view(count, LENGTH)


def heal(student: torch.nn.Module, teacher: torch.nn.Module, texts: torch.Tensor, options: argparse.Namespace) -> None:
    """Trains `student` in place, on batches that are drawn."""
    steps, batch = options.steps, options.batch_size
    optimizer = torch.optim.AdamW(student.parameters(), lr=options.lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=steps, pct_start=0.1)
    student.train()
    begun = time.monotonic()
    for step in range(steps):
        rows = texts[torch.randint(len(texts), (batch,))]
        with torch.no_grad():
            wanted = teacher(rows).logits.log_softmax(-1)
        found = student(rows).logits.log_softmax(-1)
        loss = functional.kl_div(found, wanted, log_target=True, reduction="sum") / rows.numel()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            sys.stderr.write(f"step {step}: KL {loss.item():.4f} nats per token, {time.monotonic() - begun:.0f} s\n")
    student.eval()


def main() -> int:
    """Heals, and saves beside the student's own files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("pruned", help="a folder that glu-prune or transformers reads")
    parser.add_argument("--teacher", required=True, help="the dense model: a name, a folder or an id")
    parser.add_argument("--out", type=Path, required=True, help="the new folder")
    parser.add_argument("--text", type=Path, help="default: the teacher writes it")
    parser.add_argument("--texts", type=int, default=2048, help=f"of {LENGTH} tokens that the teacher writes")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.out.exists():
        sys.exit(f"{options.out} exists; name a new folder")
    torch.manual_seed(options.seed)
    folder = glu_prune.locate(options.teacher).folder
    teacher, tokenizer = glu_prune.load(folder).float(), AutoTokenizer.from_pretrained(folder)
    student = glu_prune.load(Path(options.pruned)).float()
    if options.text is None:
        begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        texts = torch.cat([written(teacher, begin, 256) for _ in range(-(-options.texts // 256))])
    else:
        texts = given(tokenizer, options.text)
    heal(student, teacher, texts, options)
    student.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
