"""Statistics of neurons on calibration text, which activation-aware criteria look at, in one streaming pass."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from glu_prune.errors import PlanError
from glu_prune.pruning.blocks import find_blocks
from glu_prune.pruning.calibration_text import CalibrationText
from glu_prune.pruning.criteria import Activations
from glu_prune.pruning.glu_block import GluBlock

MOST_TOKENS = 2048
"""Of a line of calibration text."""
LEAST_TOKENS = 32
"""With fewer, what neurons put out says more of these tokens than of the model."""


def sequences(texts: Any) -> list[tuple[int, ...]]:
    """Calibration text as sequences of token ids, without padding, in one fixed order.

    `texts` are sequences of token ids, or batches as data loaders give them (`input_ids (batch, tokens)` with an
    `attention_mask` of the same shape, as a mapping or a pair). However it was batched, padded and ordered, the same
    text gives the same list.

    Raises:
        PlanError: there is no token, or a batch has another form.
    """
    # Sorted, so that the sum over tokens is taken in the same order however a data loader shuffles its batches.
    found = sorted(tuple(row) for item in texts for row in _rows(item) if len(row) > 0)
    if not found:
        msg = "the calibration text holds no token"
        raise PlanError(msg)
    return found


def _rows(item: Any) -> Iterator[Sequence[int]]:
    """The sequences in one item of calibration text."""
    if isinstance(item, Mapping) or hasattr(item, "input_ids"):
        ids, mask = item["input_ids"], item.get("attention_mask")
    elif isinstance(item, list | tuple) and item and isinstance(item[0], torch.Tensor):
        ids, mask = item[0], (item[1] if len(item) > 1 else None)
    else:
        ids, mask = item, None
    ids = torch.as_tensor(ids)
    if ids.numel() == 0:
        return
    if ids.dim() not in (1, 2) or ids.is_floating_point():
        msg = f"calibration text must be token ids (tokens) or (batch, tokens); found {tuple(ids.shape)} of {ids.dtype}"
        raise PlanError(msg)
    ids = ids.reshape(-1, ids.shape[-1])
    keep = torch.ones_like(ids) if mask is None else torch.as_tensor(mask).reshape(ids.shape)
    for row, used in zip(ids, keep, strict=True):
        yield row[used.bool()].tolist()


def measure(model: Any, texts: Iterable[Any]) -> dict[str, Activations]:
    """What every neuron puts out on `texts` (see `sequences`), by block name.

    Sequences go through the model one at a time, without padding, in a fixed order, and sums are taken in float64: the
    result does not depend, in any bit, on how the text was batched, padded or ordered. Experts count the tokens that
    are routed to them. The model is left as it was.

    Raises:
        UnsupportedModelError: `model` has no GLU block.
        PlanError: there is no token, a token is not in the vocabulary, or an activation is not finite.
    """
    blocks = find_blocks(model)
    known = sequences(texts)
    _refuse_unknown_tokens(model, known)
    sums = {block.name: _Sums(block.width) for block in blocks}
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), _eager_experts(model), _Watch(blocks, sums):
            for tokens in known:
                ids = torch.tensor([tokens], device=model.device)
                extra = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
                model(input_ids=ids, **extra)
    finally:
        model.train(training)
    for name, total in sums.items():
        if not math.isfinite(float(total.squares.sum())):
            msg = f"{name}: activations on the calibration text are not finite"
            raise PlanError(msg)
    return {name: total.activations() for name, total in sums.items()}


def measure_on(model: Any, tokenizer: Any, text: CalibrationText) -> dict[str, Activations]:
    """What `measure` gives on the lines of a text, of each at most `MOST_TOKENS` tokens.

    Raises:
        PlanError: the file cannot be read or has too few tokens, or as `measure`.
    """
    return measure(model, token_rows(tokenizer, text))


def token_rows(tokenizer: Any, text: CalibrationText) -> list[list[int]]:
    """The token ids of each line that is shown, of each at most `MOST_TOKENS`.

    Raises:
        PlanError: the file cannot be read or has too few tokens.
    """
    shown, left = [], text.tokens
    for line in text.lines():
        tokens = tokenizer(line).input_ids[: MOST_TOKENS if left is None else min(left, MOST_TOKENS)]
        shown.append(tokens)
        if left is not None and not (left := left - len(tokens)):
            break
    there = sum(map(len, shown))
    if left:
        asked = f"{text.tokens:,} were asked for: ask for at most {there:,}"
        msg = f"{text.file} has {there:,} of the model's tokens, {asked}"
        raise PlanError(msg)
    if there < LEAST_TOKENS:
        msg = (
            f"calibration by {there} tokens of {text.file} tells little; show at least {LEAST_TOKENS}, better thousands"
        )
        raise PlanError(msg)
    return shown


def _refuse_unknown_tokens(model: Any, known: list[tuple[int, ...]]) -> None:
    vocabulary = model.get_input_embeddings().weight.shape[0]
    wrong = next((token for tokens in known for token in tokens if not 0 <= token < vocabulary), None)
    if wrong is not None:
        msg = f"calibration text holds token {wrong}; allowed are 0 to {vocabulary - 1}, use the model's own tokenizer"
        raise PlanError(msg)


@contextmanager
def _eager_experts(model: Any) -> Iterator[None]:
    """Has experts multiplied one by one: fused kernels show no product with a single down matrix."""
    before = getattr(model.config.get_text_config(), "_experts_implementation", None)
    if before is None or not hasattr(model, "set_experts_implementation"):
        yield
        return
    model.set_experts_implementation("eager")
    try:
        yield
    finally:
        model.set_experts_implementation(before)


class _Sums:
    """Sums over what the neurons of one block put out, in float64."""

    def __init__(self, width: int) -> None:
        self.tokens = 0
        self.total, self.squares, self.magnitudes = (torch.zeros(width, dtype=torch.float64) for _ in range(3))

    def add(self, outputs: torch.Tensor) -> None:
        """Those of one text: `(..., width)`."""
        rows = outputs.detach().double().reshape(-1, outputs.shape[-1])
        if len(rows):
            self.tokens += len(rows)
            self.total += rows.sum(0).cpu()
            self.squares += rows.square().sum(0).cpu()
            self.magnitudes += rows.abs().mean(0).square().cpu()

    def activations(self) -> Activations:
        """Zeros where no token came."""
        mean = self.total / max(self.tokens, 1)
        variance = (self.squares / max(self.tokens, 1) - mean.square()).clamp(min=0)
        return Activations(self.squares.sqrt().float(), variance.float(), self.magnitudes.sqrt().float())


class _Watch(TorchFunctionMode):
    """Sees every product with a down matrix, and adds up what it is multiplied with."""

    # Not forward hooks: experts are slices of one parameter and have no module of their own to hook. A product is
    # recognised by the memory of its matrix instead, which is the same for linear layers and for slices.

    def __init__(self, blocks: tuple[GluBlock, ...], sums: dict[str, _Sums]) -> None:
        super().__init__()
        self._sums = sums
        self._downs = {_place(block.down.view(block.down.tensor)): block.name for block in blocks}
        self._stacks: dict[tuple[int, ...], list[str]] = {}
        for block in blocks:
            if block.down.expert is not None:
                self._stacks.setdefault(_place(block.down.tensor), []).append(block.name)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _PRODUCTS and len(args) > 1 and isinstance(args[1], torch.Tensor):
            self._see(args[0], args[1])
        return func(*args, **(kwargs or {}))

    def _see(self, inputs: torch.Tensor, matrix: torch.Tensor) -> None:
        place = _place(matrix)
        if place in self._downs:
            self._sums[self._downs[place]].add(inputs)
        elif place in self._stacks:
            for name, part in zip(self._stacks[place], inputs, strict=True):
                self._sums[name].add(part)


_PRODUCTS = {nn.functional.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm}


def _place(tensor: torch.Tensor) -> tuple[int, ...]:
    """Where a tensor lies in memory, whichever way round its last two dimensions are read."""
    sizes = sorted(zip(tensor.shape, tensor.stride(), strict=True))
    return (tensor.data_ptr(), *(number for pair in sizes for number in pair))
